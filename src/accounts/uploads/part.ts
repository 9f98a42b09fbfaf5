/** Attachments of rows: uploaded before their rows go out, which then carry the URL (XEP-0363). */

import { createLimit, type Limit } from '../../db/limit.ts';
import { DEFAULT_SHARD, shardOf } from '../../db/ownership.ts';
import { ProtocolError, RejectError, RetryError } from '../../errors.ts';
import { putFile } from '../../xmpp/httpPut.ts';
import {
  formatDiscoInfoQuery,
  formatDiscoItemsQuery,
  readDiscoInfo,
  readDiscoItems,
} from '../../xmpp/wire/disco.ts';
import { parseJid } from '../../xmpp/wire/jid.ts';
import { formatSlotRequest, readMaxFileSize, readSlot, uploadNs } from '../../xmpp/wire/upload.ts';
import type { OutgoingContent } from '../content.ts';
import type { TxRow } from '../link.ts';
import type { KindParts, Line, Part, PartKind } from '../part.ts';
import { openFileBelow } from './files.ts';
import { nameAttachment } from './naming.ts';
import { type Attachment, selectAttachment, selectPiece, updateUrl } from './store.ts';
import {
  chooseService,
  decideRetry,
  isAllowedUrl,
  needsCertificate,
  requireAttachmentSize,
  requireTaken,
  type Service,
  type Trust,
} from './verdicts.ts';

const UPLOADING = 'uploading the attachment';
const PER_ACCOUNT = 2;
const PER_DAEMON = 8;
/** While an upload is under way its row is looked at again; also how long a crash holds it up. */
const PUT_OFF_MS = 10_000;
/** Items of the server that are asked what they are, at most. */
const ITEMS_MAX = 30;
/** That there is no service is believed for so long. */
const ABSENT_MS = 60_000;
const PIECE_BYTES = 1_048_576;
/** An upload may take this long, and what it needs at the lowest pace that is borne. */
const PUT_MS = 60_000;
const PACE_BYTES_PER_MS = 8;
const FORGET_MS = 600_000;

/** Where a row stands that is not settled and has no URL yet. */
type Progress = { retries: number; since: number } & (
  | { stage: 'under way' }
  /** Written, and not yet seen in the row. */
  | { stage: 'uploaded'; url: string }
  | { stage: 'later'; at: number; reason: string }
  | { stage: 'failed'; error: RejectError }
);

type Source = { sizeBytes: number; pieces(): AsyncIterable<Buffer>; close(): Promise<void> };

const createPart = (line: Line, parts: KindParts, daemonLimit: Limit): Part => {
  const { db } = line;
  const accountLimit = createLimit(PER_ACCOUNT);
  const progress = new Map<number, Progress>();
  const closing = new AbortController();
  let services: { found: Promise<Service[]>; until: number } | null = null;

  const readService = async (jid: string): Promise<Service[]> => {
    const answer = await line.request({
      to: jid,
      type: 'get',
      payload: formatDiscoInfoQuery(null),
    });
    const info = readDiscoInfo(answer.getChild('query'));
    if (!info?.features.includes(uploadNs)) return [];
    return [{ jid, maxSizeBytes: readMaxFileSize(info) }];
  };

  /** @throws RetryError when one that did not answer may be what is looked for */
  const findServices = async (): Promise<Service[]> => {
    const { domain } = parseJid(line.ownJid());
    const payload = formatDiscoItemsQuery(null);
    const answer = await line.request({ to: domain, type: 'get', payload });
    const items = readDiscoItems(answer.getChild('query'))?.items ?? [];
    const jids = [...new Set([domain, ...items.map(({ jid }) => jid)])].slice(0, ITEMS_MAX);
    const answers = await Promise.allSettled(jids.map(readService));
    const found = answers.flatMap((each) => (each.status === 'fulfilled' ? each.value : []));
    const silent = answers.find(
      (each) => each.status === 'rejected' && !(each.reason instanceof RejectError),
    );
    if (found.length === 0 && silent?.status === 'rejected') throw silent.reason;
    return found;
  };

  /** Asked once a session. */
  const getServices = (): Promise<Service[]> => {
    if (services && Date.now() < services.until) return services.found;
    const own = { found: findServices(), until: Number.POSITIVE_INFINITY };
    services = own;
    own.found
      .then((found) => {
        if (found.length === 0) own.until = Date.now() + ABSENT_MS;
      })
      .catch(() => {
        own.until = 0;
      });
    return own.found;
  };

  async function* readBytes(rowId: number, sizeBytes: number): AsyncGenerator<Buffer> {
    for (let at = 0; at < sizeBytes; at += PIECE_BYTES) {
      const piece = await selectPiece(db, rowId, at, PIECE_BYTES);
      if (piece.length === 0) throw new Error('the row is no longer queued');
      yield piece;
    }
  }

  const openSource = async (rowId: number, { sizeBytes, path }: Attachment): Promise<Source> => {
    if (sizeBytes === null) return openFileBelow(parts.attachmentDir, path ?? '');
    return { sizeBytes, pieces: () => readBytes(rowId, sizeBytes), close: async () => {} };
  };

  const readTrust = (): Trust => {
    const { tls, ca, host } = line.account();
    return { tls, ca, serverHost: host || parseJid(line.ownJid()).domain };
  };

  const putSource = async (source: Source, name: string, mediaType: string): Promise<string> => {
    const { sizeBytes } = source;
    const trust = readTrust();
    const service = chooseService(await getServices(), sizeBytes);
    const payload = formatSlotRequest({ name, sizeBytes, mediaType });
    const answer = await line.request({ to: service.jid, type: 'get', payload });
    const slot = readSlot(answer.getChild('slot'), (url) => isAllowedUrl(url, trust));
    if (!slot) {
      throw new RejectError('the upload service gave no address that may be used', 'not-allowed');
    }
    const timeoutMs = PUT_MS + Math.ceil(sizeBytes / PACE_BYTES_PER_MS);
    const outcome = await putFile(source.pieces(), {
      url: slot.putUrl,
      headers: slot.headers,
      mediaType,
      sizeBytes,
      ca: trust.ca,
      isVerified: needsCertificate(new URL(slot.putUrl), trust),
      signal: AbortSignal.any([closing.signal, AbortSignal.timeout(timeoutMs)]),
    });
    requireTaken(outcome);
    return slot.getUrl;
  };

  /** @returns null when the row no longer wants it */
  const upload = async (rowId: number): Promise<string | null> => {
    const attachment = await selectAttachment(db, rowId);
    if (!attachment) return null;
    const { name, type } = nameAttachment(attachment);
    const maxBytes = line.account().maxAttachmentBytes;
    requireAttachmentSize(attachment.sizeBytes ?? 0, maxBytes);
    const source = await openSource(rowId, attachment);
    try {
      requireAttachmentSize(source.sizeBytes, maxBytes);
      return await putSource(source, name, type);
    } finally {
      await source.close();
    }
  };

  const writeUrl = async (row: TxRow, url: string): Promise<boolean> => {
    const shard = row.linkId === null ? DEFAULT_SHARD : shardOf(row.linkId);
    const epoch = parts.ownership.epochs('xmpp').get(shard) ?? -1;
    return updateUrl(db, row.id, url, { shard, epoch });
  };

  const finish = async (row: TxRow, retries: number): Promise<Progress | null> => {
    const since = Date.now();
    try {
      const url = await accountLimit(() => daemonLimit(() => upload(row.id)));
      if (url === null || !(await writeUrl(row, url))) return null;
      line.log.debug({ row: row.id }, 'attachment uploaded');
      return { retries, since, stage: 'uploaded', url };
    } catch (error) {
      // Nothing is to be learnt from a stream that is lost; the next one begins anew.
      const isOffline = line.fullJid() === null && error instanceof RetryError;
      if (isOffline || closing.signal.aborted) return null;
      const isExpected =
        error instanceof RejectError ||
        error instanceof RetryError ||
        error instanceof ProtocolError;
      if (!isExpected) line.log.warn({ err: error, row: row.id }, 'attachment not uploaded');
      const verdict = decideRetry(error, retries);
      if (verdict instanceof RejectError)
        return { retries, since, stage: 'failed', error: verdict };
      const reason = verdict.message;
      line.log.info({ row: row.id, reason, nextTryMs: verdict.afterMs }, 'attachment not uploaded');
      return { retries, since, stage: 'later', at: since + verdict.afterMs, reason };
    }
  };

  /** Rows that were cancelled never ask again. */
  const forgetOld = () => {
    const limit = Date.now() - FORGET_MS;
    for (const [id, { stage, since }] of progress) {
      if (stage !== 'under way' && since < limit) progress.delete(id);
    }
  };

  const begin = (row: TxRow, retries: number): void => {
    forgetOld();
    progress.set(row.id, { retries, since: Date.now(), stage: 'under way' });
    finish(row, retries)
      .then((next) => {
        if (next) progress.set(row.id, next);
        else progress.delete(row.id);
        if (closing.signal.aborted || !next) return;
        line.hasten((waiting) => {
          if (waiting.id !== row.id) return false;
          // It was read before the table had the URL.
          if (next.stage === 'uploaded' && waiting.content) waiting.content.oobUrl = next.url;
          return true;
        });
      })
      .catch((err: unknown) => line.log.error({ err, row: row.id }, 'internal error'));
  };

  const admitWithout = (row: TxRow, content: OutgoingContent): void => {
    const known = progress.get(row.id);
    if (known?.stage === 'uploaded') {
      content.oobUrl = known.url;
      throw new RetryError(UPLOADING, 0);
    }
    if (known?.stage === 'failed') {
      progress.delete(row.id);
      throw known.error;
    }
    const now = Date.now();
    if (known?.stage === 'later' && known.at > now) {
      throw new RetryError(`${known.reason}; the upload is tried again`, known.at - now);
    }
    if (known?.stage !== 'under way') begin(row, known ? known.retries + 1 : 0);
    throw new RetryError(UPLOADING, PUT_OFF_MS);
  };

  return {
    async begin() {
      services = null;
    },
    admit(row) {
      const { content } = row;
      if (!content?.hasAttachment) return;
      if (row.messageStanza !== null) {
        throw new RejectError('an attachment does not go with message_stanza', 'bad-request');
      }
      if (content.oobUrl === null) admitWithout(row, content);
      else progress.delete(row.id);
    },
    close: () => closing.abort(new Error('the account was closed')),
  };
};

export const createUploadsKind = (parts: KindParts): PartKind => {
  const daemonLimit = createLimit(PER_DAEMON);
  return {
    tables: [],
    selectBehind: async () => [],
    create: (line) => createPart(line, parts, daemonLimit),
  };
};
