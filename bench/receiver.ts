/** An XMPP account that takes what it is sent and does nothing with it. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

const NS_STREAM = 'http://etherx.jabber.org/streams';
const NS_SASL = 'urn:ietf:params:xml:ns:xmpp-sasl';
const NS_BIND = 'urn:ietf:params:xml:ns:xmpp-bind';

export type ReceiverOptions = { host: string; port: number; jid: string; password: string };
export type Receiver = { close(): Promise<void> };

/** Writes, and reads until the text has come. */
const ask = async (socket: Socket, request: string, awaited: string): Promise<void> => {
  socket.write(request);
  for (let text = ''; !text.includes(awaited); ) {
    const [bytes] = await once(socket, 'data');
    text += bytes;
  }
};

/** Logs in and becomes available. */
export const openReceiver = async (options: ReceiverOptions): Promise<Receiver> => {
  const { host, port, jid, password } = options;
  const [name = '', domain = ''] = jid.split('@');
  const socket = connect({ host, port }).setEncoding('utf8');
  const header = `<stream:stream to='${domain}' version='1.0' xmlns='jabber:client' xmlns:stream='${NS_STREAM}'>`;
  const plain = Buffer.from(`\0${name}\0${password}`).toString('base64');
  await ask(socket, header, '</stream:features>');
  await ask(socket, `<auth xmlns='${NS_SASL}' mechanism='PLAIN'>${plain}</auth>`, '<success');
  await ask(socket, header, '</stream:features>');
  await ask(socket, `<iq type='set' id='bind'><bind xmlns='${NS_BIND}'/></iq>`, '</iq>');
  socket.write('<presence/>');
  socket.on('data', () => {});
  return {
    async close() {
      const closed = once(socket, 'close');
      socket.end('</stream:stream>');
      await closed;
    },
  };
};
