/** Clients of slixmpp among themselves, on servers with rooms, PEP and files. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { describeEachWithSlixmpp, PASSWORD, type TestServer } from '../support/scene.ts';
import { connectRaw } from './rawClient.ts';
import { connectSlixmpp, type SlixmppClient } from './slixmpp.ts';
import type { Stanza, XmlElement } from './xmlReader.ts';

const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

const isPresence =
  (type: string | undefined, from: string) =>
  ({ element: { name, attrs } }: Stanza): boolean =>
    name === 'presence' && attrs.type === type && (attrs.from ?? '').split('/')[0] === from;

const isMessage =
  (child: string, ns?: string) =>
  ({ element }: Stanza): boolean =>
    element.name === 'message' && element.find(child, ns) !== null;

const isRequest =
  (child: string) =>
  ({ element }: Stanza): boolean =>
    element.name === 'iq' && element.find(child) !== null;

describeEachWithSlixmpp('peers', (peer) => {
  let server: TestServer;
  let dir: string;
  let alice: SlixmppClient;
  let bob: SlixmppClient;
  const login = (name: string, presence = true) =>
    connectSlixmpp({
      host: server.host,
      port: server.port,
      jid: `${name}@${server.domain}/far`,
      password: PASSWORD,
      presence,
    });

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'slixmpp-'));
    server = await peer.start({ dir });
    for (const name of ['alice', 'bob', 'carol']) await server.addAccount(name, PASSWORD);
    [alice, bob] = await Promise.all([login('alice'), login('bob')]);
  });

  after(async () => {
    await Promise.all([alice?.close(), bob?.close()]);
    await server?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  test('a message arrives as it was sent, raw or by a command', async () => {
    assert.equal(alice.jid, `alice@${server.domain}/far`);
    alice.send(`<message to='${bob.jid}' id='r1' type='chat'><body>a &lt; é 👋</body></message>`);
    const raw = await bob.waitFor(isMessage('body'));
    assert.equal(raw.element.find('body')?.text, 'a < é 👋');
    assert.equal(raw.element.attrs.from, alice.jid);
    assert.match(raw.xml, /^<message .*<\/message>$/s);
    const id = await alice.do('message', { to: bob.jid, body: 'second' });
    const second = await bob.waitFor(isMessage('body'));
    assert.equal(second.element.attrs.id, id);
    assert.equal(second.element.ns, 'jabber:client');
  });

  test('presence is asked for, granted and seen, and the roster tells of it', async () => {
    const bareAlice = `alice@${server.domain}`;
    const bareBob = `bob@${server.domain}`;
    // Only one who has asked for the roster hears of it.
    assert.deepEqual(await alice.do('roster_get'), []);
    await bob.do('roster_get');
    await alice.do('presence', { to: bareBob, type: 'subscribe' });
    await bob.waitFor(isPresence('subscribe', bareAlice));
    await bob.do('presence', { to: bareAlice, type: 'subscribed' });
    await alice.waitFor(isPresence('subscribed', bareBob));
    await alice.waitFor(isRequest('query'));
    await bob.do('presence', { show: 'away', status: 'out', priority: 3 });
    const seen = await alice.waitFor(
      (stanza) => isPresence(undefined, bareBob)(stanza) && stanza.element.find('show') !== null,
    );
    assert.equal(seen.element.find('show')?.text, 'away');
    assert.equal(seen.element.find('priority')?.text, '3');
    const roster = await alice.do('roster_get');
    assert.deepEqual(roster, [
      { jid: bareBob, name: null, subscription: 'to', ask: null, groups: [] },
    ]);
  });

  test('a room is joined, spoken in, archived and left', async () => {
    const room = `den@${server.roomsDomain}`;
    const created = await alice.do('join', { room, nick: 'Alice' });
    assert.partialDeepStrictEqual(created, { nick: 'Alice', affiliation: 'owner' });
    const joined = await bob.do('join', { room, nick: 'Bob' });
    assert.partialDeepStrictEqual(joined, { nick: 'Bob', role: 'participant' });
    await assert.rejects(login('carol').then(refuseNick), /^Error: join: conflict/);
    await alice.do('message', { to: room, type: 'groupchat', body: 'hello room' });
    const heard = await bob.waitFor(isMessage('body'));
    assert.equal(heard.element.attrs.from, `${room}/Alice`);
    const archive = await bob.do('mam_query', { archive: room });
    assert.partialDeepStrictEqual(archive, { count: 1, bodies: ['hello room'] });
    await bob.do('leave', { room });
    await alice.waitFor(
      ({ element }) => element.attrs.from === `${room}/Bob` && element.attrs.type === 'unavailable',
    );

    async function refuseNick(carol: SlixmppClient): Promise<void> {
      await carol.do('join', { room, nick: 'Alice' }).finally(() => carol.close());
    }
  });

  test('a request is answered, by the peer or with the error of the server', async () => {
    assert.match(
      await alice.iq(`<iq id='p1' type='get' to='${bob.jid}'><ping xmlns='urn:xmpp:ping'/></iq>`),
      /^<iq [^>]*type="result"/,
    );
    await bob.waitFor(isRequest('ping'));
    await alice.do('ping', { to: server.domain });
    assert.match(
      await alice.iq(`<iq id='p2' type='get' to='${server.domain}'><x xmlns='urn:none'/></iq>`),
      /type="error".*service-unavailable/s,
    );
    assert.partialDeepStrictEqual(await alice.do('version', { to: bob.jid }), {
      name: 'slixmpp peer',
    });
    assert.partialDeepStrictEqual(await alice.do('time', { to: bob.jid }), { tzo: '+00:00' });
    await assert.rejects(alice.do('nonsense'), /no such command: nonsense/);
  });

  test('what others are is discovered, rooms and files among it', async () => {
    const info = (await alice.do('disco_info', { to: bob.jid })) as { features: string[] };
    assert.ok(info.features.includes('urn:xmpp:receipts'));
    const items = (await alice.do('disco_items', { to: server.domain })) as { jid: string }[];
    const jids = items.map(({ jid }) => jid);
    assert.ok(jids.includes(server.roomsDomain) && jids.includes(server.uploadDomain), `${jids}`);
    await assert.rejects(
      alice.do('disco_info', { to: `nobody.${server.domain}` }),
      /remote-server-not-found|not-allowed|service-unavailable/,
    );
  });

  test('carbons reach the other resource', async () => {
    const other = await connectSlixmpp({
      ...server,
      jid: `alice@${server.domain}/other`,
      password: PASSWORD,
    });
    await other.do('carbons');
    await alice.do('message', { to: bob.jid, body: 'copied' });
    const { element } = await other.waitFor(isMessage('sent', 'urn:xmpp:carbons:2'));
    const forwarded = element.find('sent')?.find('forwarded')?.find('message');
    assert.equal(forwarded?.find('body')?.text, 'copied');
    await bob.waitFor(isMessage('body'));
    await other.close();
    await assert.rejects(other.do('presence'), /slixmpp has ended/);
  });

  test('receipts, markers, corrections, reactions and replies are slixmpp’s own', async () => {
    const to = bob.jid;
    const id = await alice.do('message', { to, body: 'silent', receipt: true, markable: true });
    await bob.waitFor(isMessage('markable', 'urn:xmpp:chat-markers:0'));
    await bob.do('marker', { to: alice.jid, about: id });
    const marker = await alice.waitFor(isMessage('displayed', 'urn:xmpp:chat-markers:0'));
    assert.equal(marker.element.find('displayed')?.attrs.id, id);
    assert.ok(!alice.stanzas.some(isMessage('received', 'urn:xmpp:receipts')));
    await bob.do('receipts');
    const asked = await alice.do('message', { to, body: 'tell me', receipt: true });
    const receipt = await alice.waitFor(isMessage('received', 'urn:xmpp:receipts'));
    assert.equal(receipt.element.find('received')?.attrs.id, asked);
    await alice.do('correct', { to, about: asked, body: 'tell us' });
    const replace = await bob.waitFor(isMessage('replace', 'urn:xmpp:message-correct:0'));
    assert.equal(replace.element.find('replace')?.attrs.id, asked);
    await alice.do('react', { to, about: asked, reactions: ['👍', '🎉'] });
    const reacted = await bob.waitFor(isMessage('reactions', 'urn:xmpp:reactions:0'));
    const emoji = reacted.element
      .find('reactions')
      ?.children.map(({ text }) => text)
      .sort();
    assert.deepEqual(emoji, ['👍', '🎉'].sort());
    await alice.do('reply', { to, about: asked, body: 'indeed' });
    const reply = await bob.waitFor(isMessage('reply', 'urn:xmpp:reply:0'));
    assert.equal(reply.element.find('reply')?.attrs.id, asked);
  });

  test('a vCard and an avatar are published and read', async () => {
    const vcard = "<vCard xmlns='vcard-temp'><FN>Alice W.</FN><NICKNAME>al</NICKNAME></vCard>";
    assert.match(await alice.iq(`<iq id='v1' type='set'>${vcard}</iq>`), /type="result"/);
    const to = `alice@${server.domain}`;
    assert.partialDeepStrictEqual(await alice.do('vcard_get', { to }), {
      fullName: 'Alice W.',
      photo: null,
    });
    const bytes = Buffer.from(PIXEL, 'base64');
    const id = await publishAvatar(alice, bytes);
    assert.partialDeepStrictEqual(await alice.do('avatar_get', { to }), {
      id,
      type: 'image/png',
      bytes: bytes.length,
      data: { sha1: id, length: bytes.length },
    });
  });

  test('a command is listed, run, and its form filled', async () => {
    assert.deepEqual(await alice.do('command_list', { to: bob.jid }), []);
    const none = alice.do('command_run', { to: bob.jid, node: 'none' });
    await assert.rejects(none, /command_run: item-not-found/);
    const { host, port, domain } = server;
    const raw = await connectRaw({ host, port, jid: `carol@${domain}`, password: PASSWORD });
    raw.onStanza(({ element }) => {
      const command = element.find('command');
      if (command) raw.send(answerCommand(element.attrs, command));
    });
    const request = { to: raw.jid, node: 'n' };
    const asked = await alice.do('command_run', request);
    assert.partialDeepStrictEqual(asked, {
      status: 'executing',
      session: 's1',
      actions: ['complete'],
      form: { title: 'T', fields: [{ var: 'a', type: 'text-single', required: true, value: 'x' }] },
    });
    const done = await alice.do('command_run', { ...request, values: { a: 'é' } });
    assert.partialDeepStrictEqual(done, {
      status: 'completed',
      notes: [{ type: 'info', text: 'complete s1 é' }],
      form: null,
    });
    raw.destroy();
  });

  test('a file is taken and given back', async () => {
    const answer = await alice.iq(
      `<iq id='u1' type='get' to='${server.uploadDomain}'>` +
        `<request xmlns='urn:xmpp:http:upload:0' filename='a.txt' size='5' content-type='text/plain'/></iq>`,
    );
    const put = answer.match(/<put url="([^"]*)"/)?.[1];
    const get = answer.match(/<get url="([^"]*)"/)?.[1];
    assert.ok(put && get, answer);
    assert.match(put, /^http:\/\/127\.0\.0\.1:/);
    const authorization = answer.match(/<header name="Authorization">([^<]*)/)?.[1];
    const headers = { 'content-type': 'text/plain', ...(authorization && { authorization }) };
    const stored = await fetch(put, { method: 'PUT', body: 'hello', headers });
    assert.equal(stored.status, 201);
    assert.equal(await (await fetch(get)).text(), 'hello');
  });

  test('a wrong password is told, and one who is not available hears no message', async () => {
    const { host, port, domain } = server;
    const wrong = { host, port, jid: `carol@${domain}`, password: 'wrong' };
    await assert.rejects(connectSlixmpp(wrong), /connect: .*not authorized/);
    const carol = await login('carol', false);
    await alice.do('presence', { to: carol.jid, type: 'probe' });
    await carol.do('ping', { to: domain });
    assert.ok(!carol.stanzas.some(({ element }) => element.name === 'presence'));
    await carol.close();
    assert.match(await carol.closed, /^slixmpp has ended: 0/);
  });
});

const publishAvatar = async (client: SlixmppClient, bytes: Buffer): Promise<string> => {
  const data = `<data xmlns='urn:xmpp:avatar:data'>${bytes.toString('base64')}</data>`;
  const id = createHash('sha1').update(bytes).digest('hex');
  const info = `<info id='${id}' type='image/png' bytes='${bytes.length}' width='1' height='1'/>`;
  const metadata = `<metadata xmlns='urn:xmpp:avatar:metadata'>${info}</metadata>`;
  await client.do('publish', { node: 'urn:xmpp:avatar:data', item_id: id, xml: data });
  await client.do('publish', { node: 'urn:xmpp:avatar:metadata', item_id: id, xml: metadata });
  return id;
};

/** Asks for a form, and then says in a note what it got. */
const answerCommand = (request: Record<string, string>, command: XmlElement): string => {
  const { action = 'execute', sessionid } = command.attrs;
  const value = command.find('x')?.find('field')?.find('value')?.text;
  const form =
    "<actions><complete/></actions><x xmlns='jabber:x:data' type='form'><title>T</title>" +
    "<field var='a' type='text-single'><required/><value>x</value></field></x>";
  const note = `<note type='info'>${action} ${sessionid} ${value}</note>`;
  return (
    `<iq type='result' id='${request.id}' to='${request.from}'>` +
    "<command xmlns='http://jabber.org/protocol/commands' node='n' sessionid='s1' " +
    `status='${sessionid ? 'completed' : 'executing'}'>${sessionid ? note : form}</command></iq>`
  );
};
