/** What the fake server answers by itself: enough to log in, to bind, and to manage the stream. */
import { randomUUID } from 'node:crypto';
import type { Step } from './fakeServer.ts';
import type { Context, Resumable } from './fakeSession.ts';
import { createScramServer } from './scramServer.ts';
import { escapeXml, type Stanza, type XmlElement } from './xmlReader.ts';

const SASL = 'urn:ietf:params:xml:ns:xmpp-sasl';
const TLS = 'urn:ietf:params:xml:ns:xmpp-tls';
const BIND = 'urn:ietf:params:xml:ns:xmpp-bind';
const SM = 'urn:xmpp:sm:3';
const STANZAS = 'urn:ietf:params:xml:ns:xmpp-stanzas';

export const openStream = (context: Context): void => {
  const { session } = context;
  say(
    context,
    'header',
    `<?xml version='1.0'?><stream:stream from='${context.domain}' id='${randomUUID()}' version='1.0' ` +
      "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
  );
  const step = session.state.loggedInAt ? 'features after login' : 'features';
  say(context, step, `<stream:features>${buildFeatures(context)}</stream:features>`);
};

/** Says nothing more once it has fallen silent at `header`, whatever the step. */
const say = ({ script, session }: Context, step: Step, xml: string): void => {
  if (script.silentAt !== step && script.silentAt !== 'header') session.write(xml);
};

const buildFeatures = ({ script, session }: Context): string => {
  if (session.state.loggedInAt) {
    const management = script.streamManagement === 'offered' ? `<sm xmlns='${SM}'/>` : '';
    return `<bind xmlns='${BIND}'/>${management}`;
  }
  const required = script.starttls === 'required' ? '<required/>' : '';
  const tls = script.starttls === 'absent' ? '' : `<starttls xmlns='${TLS}'>${required}</starttls>`;
  const names = script.mechanisms.map((name) => `<mechanism>${name}</mechanism>`).join('');
  return `${tls}<mechanisms xmlns='${SASL}'>${names}</mechanisms>`;
};

export const answerStanza = (context: Context, { element }: Stanza): void => {
  answers[element.name]?.(context, element);
};

const answers: Record<string, (context: Context, element: XmlElement) => void> = {
  starttls: (context) => say(context, 'proceed', `<failure xmlns='${TLS}'/>`),
  auth: (context, element) => answerAuth(context, element),
  response: (context, element) => answerResponse(context, decode(element.text)),
  enable: (context, element) => enable(context, element),
  resume: (context, element) => resume(context, element),
  r: (context) => answerRequest(context),
  a: ({ session }, element) => acknowledge(session.state.resumable, Number(element.attrs.h)),
  message: (context) => countStanza(context),
  presence: (context) => countStanza(context),
  iq(context, element) {
    countStanza(context);
    answerIq(context, element);
  },
};

const countStanza = ({ session: { state } }: Context): void => {
  if (state.resumable) state.resumable.receivedCount += 1;
};

const answerAuth = (context: Context, element: XmlElement): void => {
  const { state } = context.session;
  const initial = decode(element.text);
  state.mechanism = element.attrs.mechanism ?? null;
  if (state.mechanism === 'PLAIN') answerPlain(context, initial);
  else answerScram(context, initial);
};

const answerPlain = (context: Context, initial: string): void => {
  const [, name = '', password] = initial.split('\0');
  context.session.state.name = name;
  if (password === context.script.password) succeed(context, '');
  else fail(context);
};

const answerScram = (context: Context, initial: string): void => {
  const name = initial.match(/,n=([^,]*)/)?.[1] ?? '';
  context.session.state.name = name.replaceAll('=2C', ',').replaceAll('=3D', '=');
  context.scram = createScramServer(context.script.password);
  const challenge = encode(context.scram.challenge(initial));
  say(context, 'challenge', `<challenge xmlns='${SASL}'>${challenge}</challenge>`);
};

const answerResponse = (context: Context, clientFinal: string): void => {
  const signature = context.scram?.verify(clientFinal);
  if (signature) succeed(context, encode(signature));
  else fail(context);
};

const succeed = (context: Context, data: string): void => {
  if (context.script.authFailure === null) {
    context.session.state.loggedInAt = new Date();
    context.restartStream();
    say(context, 'success', `<success xmlns='${SASL}'>${data}</success>`);
    context.onProgress();
  } else fail(context);
};

const fail = ({ session, script }: Context): void => {
  const condition = script.authFailure ?? 'not-authorized';
  session.write(`<failure xmlns='${SASL}'><${condition}/></failure>`);
};

const answerIq = (context: Context, element: XmlElement): void => {
  const { id = '', type, to } = element.attrs;
  if (type !== 'get' && type !== 'set') return;
  const request = element.find('bind', BIND);
  if (request) bind(context, id, request.find('resource')?.text);
  else if (context.script.silentAt !== 'results') {
    const from = to === undefined ? '' : ` from='${escapeXml(to)}'`;
    context.session.send(`<iq type='result' id='${escapeXml(id)}'${from}/>`);
  }
};

const bind = (context: Context, id: string, resource: string = randomUUID()): void => {
  const { state } = context.session;
  // Before the login this is a defect of the client, which its test is to see.
  if (!state.loggedInAt) throw new Error('the client binds before it has logged in');
  state.jid = `${state.name}@${context.domain}/${resource}`;
  state.establishedAt = new Date();
  const bound = `<bind xmlns='${BIND}'><jid>${escapeXml(state.jid)}</jid></bind>`;
  say(context, 'bound', `<iq type='result' id='${escapeXml(id)}'>${bound}</iq>`);
  context.onProgress();
};

const enable = (context: Context, element: XmlElement): void => {
  const { state } = context.session;
  const { jid } = state;
  if (context.script.streamManagement === 'absent' || jid === null) {
    context.session.write(buildFailed('unexpected-request', null));
    return;
  }
  const id = randomUUID();
  state.resumable = { id, jid, receivedCount: 0, ackedCount: 0, unacked: [] };
  const canResume = element.attrs.resume === 'true';
  if (canResume) context.resumables.set(id, state.resumable);
  say(
    context,
    'enabled',
    `<enabled xmlns='${SM}'${canResume ? ` id='${id}' resume='true'` : ''}/>`,
  );
};

const resume = (context: Context, element: XmlElement): void => {
  const { resumption } = context.script;
  const found = context.resumables.get(element.attrs.previd ?? '');
  if (found && context.session.state.loggedInAt && resumption === 'accepted') {
    acknowledge(found, Number(element.attrs.h));
    establish(context, found);
    return;
  }
  const receivedCount = resumption === 'counted' && found ? found.receivedCount : null;
  context.session.write(buildFailed('item-not-found', receivedCount));
};

const establish = (context: Context, resumable: Resumable): void => {
  const { id, jid, receivedCount, unacked } = resumable;
  const { state } = context.session;
  Object.assign(state, { resumable, jid, isResumed: true, establishedAt: new Date() });
  const answer = `<resumed xmlns='${SM}' previd='${id}' h='${receivedCount}'/>`;
  say(context, 'resumed', answer + unacked.join(''));
  context.onProgress();
};

const answerRequest = (context: Context): void => {
  const { resumable } = context.session.state;
  if (resumable) say(context, 'acks', `<a xmlns='${SM}' h='${resumable.receivedCount}'/>`);
};

const acknowledge = (resumable: Resumable | null, count: number): void => {
  if (!resumable) return;
  resumable.unacked.splice(0, count - resumable.ackedCount);
  resumable.ackedCount = count;
};

const buildFailed = (condition: string, receivedCount: number | null): string => {
  const h = receivedCount === null ? '' : ` h='${receivedCount}'`;
  return `<failed xmlns='${SM}'${h}><${condition} xmlns='${STANZAS}'/></failed>`;
};

const decode = (text: string): string => Buffer.from(text, 'base64').toString();

const encode = (text: string): string => Buffer.from(text).toString('base64');
