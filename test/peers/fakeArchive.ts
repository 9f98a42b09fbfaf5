/** An archive for the fake server (XEP-0313): what a test puts there, by pages, and what it withholds. */
import type { FakeSession } from './fakeSession.ts';
import { escapeXml, type Stanza, type XmlElement } from './xmlReader.ts';

const NS_MAM = 'urn:xmpp:mam:2';
const NS_DISCO = 'http://jabber.org/protocol/disco#info';
const NS_RSM = 'http://jabber.org/protocol/rsm';

export type FakeArchive = {
  /** Messages as XML, each of which has its place for an id: `at0`, `at1`. */
  messages: string[];
  /** The queries so far, as they came. */
  queries: Stanza[];
  /** Whether queries get no answer. */
  isSilent: boolean;
  /** Called between the results of a page and its end. */
  onPage(session: FakeSession, query: XmlElement): void;
  /** For the script of a fake server. */
  onStanza(session: FakeSession, stanza: Stanza): 'handled' | 'unhandled';
};

export const archiveIdOf = (at: number): string => `at${at}`;
const placeOf = (id: string): number => Number(id.slice(2));

/** A result as the own server sends it. */
export const formatResult = (
  message: string,
  { id, queryId, from = '' }: { id: string; queryId: string; from?: string },
): string =>
  `<message${from && ` from='${escapeXml(from)}'`}><result xmlns='${NS_MAM}' ` +
  `queryid='${escapeXml(queryId)}' id='${escapeXml(id)}'><forwarded xmlns='urn:xmpp:forward:0'>` +
  `<delay xmlns='urn:xmpp:delay' stamp='${new Date().toISOString()}'/>${message}` +
  `</forwarded></result></message>`;

/** @param keep whether a message that the client sends, by its text, is archived */
export const createFakeArchive = (
  ownJid: string,
  keep: (body: string) => boolean = () => false,
): FakeArchive => {
  const archive: FakeArchive = {
    messages: [],
    queries: [],
    isSilent: false,
    onPage: () => {},
    onStanza(session, stanza) {
      const { element, xml } = stanza;
      const body = element.find('body')?.text;
      if (element.name === 'message' && body !== undefined && keep(body)) {
        const from = `from='${session.state.jid ?? ownJid}'`;
        archive.messages.push(xml.replace('<message', `<message xmlns='jabber:client' ${from}`));
      }
      const answer = answerIq(archive, session, stanza);
      if (answer === null) return 'unhandled';
      if (session.state.resumable) session.state.resumable.receivedCount += 1;
      answer();
      return 'handled';
    },
  };
  return archive;
};

const answerIq = (
  archive: FakeArchive,
  session: FakeSession,
  stanza: Stanza,
): (() => void) | null => {
  const { element } = stanza;
  const { id = '', to = '' } = element.attrs;
  if (element.name !== 'iq') return null;
  if (element.find('query', NS_DISCO)) {
    const features = `<feature var='${NS_MAM}'/><feature var='urn:xmpp:carbons:2'/>`;
    return () =>
      session.send(
        `<iq type='result' id='${escapeXml(id)}' from='${escapeXml(to)}'>` +
          `<query xmlns='${NS_DISCO}'>${features}</query></iq>`,
      );
  }
  const query = element.find('query', NS_MAM);
  if (!query) return null;
  return () => {
    archive.queries.push(stanza);
    if (!archive.isSilent) answerQuery(archive, session, query, id);
  };
};

const answerQuery = (
  archive: FakeArchive,
  session: FakeSession,
  query: XmlElement,
  id: string,
): void => {
  const { messages } = archive;
  const { queryid: queryId = '' } = query.attrs;
  const set = query.find('set');
  const max = Number(set?.find('max')?.text ?? messages.length);
  const before = set?.find('before')?.text;
  const after = set?.find('after')?.text;
  const last = before ? placeOf(before) : messages.length;
  const start = before === undefined ? (after ? placeOf(after) + 1 : 0) : Math.max(0, last - max);
  const page = messages.slice(start, Math.min(last, start + max));
  const end = start + page.length;
  for (const [at, message] of page.entries()) {
    session.send(formatResult(message, { id: archiveIdOf(start + at), queryId }));
  }
  archive.onPage(session, query);
  const ends =
    page.length === 0
      ? ''
      : `<first>${archiveIdOf(start)}</first><last>${archiveIdOf(end - 1)}</last>`;
  const isComplete = before === undefined ? end === messages.length : start === 0;
  session.send(
    `<iq type='result' id='${escapeXml(id)}'><fin xmlns='${NS_MAM}' complete='${isComplete}'>` +
      `<set xmlns='${NS_RSM}'>${ends}</set></fin></iq>`,
  );
};
