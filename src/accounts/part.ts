/**
 * What a link is made of besides its queue of messages: contacts, rooms, requests and the like. Each part
 * keeps one kind of rows and the stanzas that belong to them.
 */
import type { Element } from '@xmpp/client';
import type pg from 'pg';
import type { DatabasePool } from 'slonik';
import type { DatabaseAddress } from '../db/connect.ts';
import type { Ownership } from '../db/ownership.ts';
import type { Queue, Unlinked } from '../db/queue.ts';
import type { Log } from '../log.ts';
import type { Question } from '../xmpp/requester.ts';
import type { TxRow } from './link.ts';
import type { RowKey } from './stanzaId.ts';
import type { Archived, Incoming, Report } from './stanzas.ts';
import type { Account } from './store.ts';

/** What is to be stored in the order of arrival; of a stanza, before it is acknowledged to the server. */
export type Taken = {
  /** A received message, as a row. */
  incoming?: Incoming;
  /** What it says of a message that we sent. */
  report?: Report;
  /** How far the own archive is read with it. */
  archived?: Archived;
  /** Runs in the transaction; a second time, when nobody could say whether the first was committed. */
  write?: (client: pg.Client) => Promise<void>;
  /** Called once it is committed. */
  onStored?: () => void;
};

/** What a link offers its parts. */
export type Line = {
  accountId: number;
  /** The row as it is now. */
  account(): Account;
  /** The account's bare JID in its normal form. */
  ownJid(): string;
  /** The address bound at the server; null while the account is not online. */
  fullJid(): string | null;
  db: DatabasePool;
  log: Log;
  /** Signs the ids of what is sent. */
  secret(): string;
  /** What all parts of the account can do. */
  features(): string[];
  /** The own presence is sent again if its parts say something else than they did. */
  refreshPresence(): void;
  /**
   * Sends a stanza that is no row.
   *
   * @param onHandled the server has it for certain; not called when it is lost with the stream
   * @returns false when the account is not online, and nothing was sent
   */
  send(stanza: string, onHandled?: () => void): boolean;
  /**
   * Asks and waits for the answer, from whom was asked.
   *
   * @throws RejectError the answer is an error; RetryError no answer in time, or the stream is lost
   */
  request(question: Question): Promise<Element>;
  /** Stores what is no stanza of the stream, such as messages from an archive. */
  store(taken: Taken): void;
  /** The network is no longer as this part's last sync has left it: there is to be another. */
  resync(): void;
  /** Takes a stanza that was put aside, as if it came now; it was counted when it came. */
  replay(stanza: Element): void;
  /** @returns null for an id of a message that this daemon has not sent */
  readRowId(stanzaId: string): RowKey | null;
  /** Counts a stanza that claims what its sender may not. */
  distrust(stanza: Element, claim: string): void;
  /** Rows that were put off may be tried again at once. */
  hasten(isMatch: (row: TxRow) => boolean): void;
  /** The room has shown the message with this id to all, and its row is settled in the table. */
  reflect(stanzaId: string): void;
  /** Nothing more is to be expected of the room about what it was sent; those rows are sent again. */
  abandon(roomJid: string): void;
  /** Rows that have arrived, as others say, and have been settled: they do not go out any more. */
  dismiss(rowIds: readonly number[]): void;
  /** Rows that were held may go. */
  proceed(): void;
};

export type Part = {
  /** A stream goes on, maybe one of a daemon that is gone: before what it brings is read. */
  resume?(): Promise<void>;
  /** A new stream: before the initial presence is sent. Parts are asked in turn, each is awaited. */
  begin?(): Promise<void>;
  /** Presence has been sent, on a new stream or on one that goes on. */
  online?(isResumed: boolean): void;
  /** The account's own presence has changed and was sent; it is gone where its priority is null. */
  reintroduced?(): void;
  /** Sees every stanza before anyone takes it; it may only remember, since it may come again. */
  watch?(stanza: Element): void;
  /** @returns null when the stanza is none of this part's */
  receive?(stanza: Element): Taken | null;
  /** Makes the network match the rows, while online; never called twice at once. */
  sync?(): Promise<void>;
  /**
   * @param to the recipient as sent, `type` the type of the message
   * @throws RetryError the row cannot go yet and is put off; RejectError it never can
   */
  admit?(row: TxRow, to: string, type: string): void;
  /** @returns how far the own archive is read with a message that came live; null when it is not known to be */
  follow?(incoming: Incoming): Archived | null;
  /** Whether rows have to wait; `proceed` ends it. */
  holdsRows?(): boolean;
  /** What the account can do, for service discovery; see `refreshPresence` where it changes. */
  features?: readonly string[];
  /** What the account's own presence has to carry, as XML. */
  presence?(): string;
  /** The stream is lost, or given up. It may yet be resumed. */
  offline?(): void;
  /** The stream will not go on, and the account is not to be expected soon: rows that wait are told so. */
  rest?(): void;
  /** The link is closed for good. */
  close?(): void;
};

/** A part of every link of a gateway. */
export type PartKind = {
  /** Tables whose change may mean work for a part. */
  tables: readonly string[];
  /** The accounts whose rows the network does not match yet, as far as the tables tell. */
  selectBehind(db: DatabasePool): Promise<readonly number[]>;
  create(line: Line): Part;
  /** A queue that the parts read; the table's name is its channel. */
  queue?: PartQueue;
  /** After all its parts are closed. */
  close?(): Promise<void>;
};

export type PartQueue = {
  table: string;
  queue: Pick<Queue<never>, 'ring' | 'recheckHeld' | 'resync' | 'setDefault' | 'flushed' | 'close'>;
};

/** What a kind of part may be made from. */
export type KindParts = {
  address: DatabaseAddress;
  db: DatabasePool;
  ownership: Ownership;
  log: Log;
  /** What rows may send files from; null for no files. */
  attachmentDir: string | null;
  /** Of the program. */
  version: string;
  /** What to tell rows of accounts that are not online here. */
  describeUnlinked(linkId: number | null): Unlinked;
  /** For tests: how long is waited for what. */
  timing?: PartTiming;
};

/** In milliseconds. */
export type PartTiming = {
  /** Silence after which a room is asked whether the account is still in it. */
  roomSilenceMs?: number;
  /** The first wait before a room is entered again. */
  roomRetryMs?: number;
};
