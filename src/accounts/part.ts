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
import type { Incoming } from './stanzas.ts';
import type { Account } from './store.ts';

/** What is to be stored in the order of arrival; of a stanza, before it is acknowledged to the server. */
export type Taken = {
  /** A received message, as a row. */
  incoming?: Incoming;
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
  /** Sends a stanza that is no row; it is lost when the account is not online. */
  send(stanza: string): void;
  /**
   * Asks and waits for the answer, from whom was asked.
   *
   * @throws RejectError the answer is an error; RetryError no answer in time, or the stream is lost
   */
  request(question: Question): Promise<Element>;
  /** Stores what is no stanza of the stream, such as messages from an archive. */
  store(taken: Taken): void;
  /** Counts a stanza that claims what its sender may not. */
  distrust(stanza: Element, claim: string): void;
  /** Rows that were put off may be tried again at once. */
  hasten(isMatch: (row: TxRow) => boolean): void;
  /** The room has shown the message with this id to all. */
  reflect(stanzaId: string): void;
  /** Nothing more is to be expected of the room about these rows; they are sent again. */
  abandon(isMatch: (row: TxRow) => boolean): void;
};

export type Part = {
  /** A new stream: before the initial presence is sent. Parts are asked in turn, each is awaited. */
  begin?(): Promise<void>;
  /** Presence has been sent, on a new stream or on one that goes on. */
  online?(isResumed: boolean): void;
  /** The account's own presence has changed and was sent. */
  reintroduced?(): void;
  /** @returns null when the stanza is none of this part's */
  receive?(stanza: Element): Taken | null;
  /** Makes the network match the rows, while online; never called twice at once. */
  sync?(): Promise<void>;
  /**
   * @param to the recipient as sent, `type` the type of the message
   * @throws RetryError the row cannot go yet and is put off; RejectError it never can
   */
  admit?(row: TxRow, to: string, type: string): void;
  /** Whether rows have to wait for what this part does in `begin`. */
  holdsRows?(): boolean;
  /** What the account can do, for service discovery. */
  features?: readonly string[];
  /** The stream is lost, or given up. It may yet be resumed. */
  offline?(): void;
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
  /** What to tell rows of accounts that are not online here. */
  describeUnlinked(linkId: number | null): Unlinked;
};
