/** What a gateway is lent of a component, and what it makes of it. */
import type { Element } from '@xmpp/client';
import type { Log } from '../log.ts';
import type { Question } from '../xmpp/requester.ts';
import type { DiscoInfo, DiscoItem } from '../xmpp/wire/disco.ts';

export type ComponentQuestion = Question & {
  to: string;
  /** The domain, if absent. */
  from?: string;
};

/** One row of xmpp_components that is to be online. Another domain makes it another component. */
export type Component = {
  id: number;
  /** In its normal form (RFC 7622). */
  domain: string;
  log: Log;
  isOnline(): boolean;
  /**
   * Writes whole stanzas. Each has `to`, and a `from` at the domain: a server ends the stream over one
   * that has not. That they are written does not prove that they arrive; once a ping of the domain to
   * itself is answered, the server has read what was sent before.
   *
   * @returns false when nothing can be sent now
   */
  send(stanzas: string): boolean;
  /**
   * @throws RejectError the answer is an error; RetryError no answer in time, or the stream is lost
   */
  request(question: ComponentQuestion): Promise<Element>;
};

/** What the domain tells of itself; ping, version, time and discovery are added to the features. */
export type Description = Pick<DiscoInfo, 'identities' | 'features'>;

/** What a gateway does with a component. All of it is called in order, and never at once. */
export type Service = {
  /** Asked anew for each request. */
  describe(): Description;
  /** What there is at the domain (XEP-0030 §4); nothing if absent. */
  items?(): DiscoItem[];
  /** The server takes stanzas from now on. */
  onOnline?(): void;
  /** The stream is gone, and with it whatever was not answered; called once for each `onOnline`. */
  onOffline?(): void;
  /**
   * Sees every stanza to an address of the domain, but for answers to `request`.
   *
   * @returns 'taken' for what it answers itself, now or later; null for what is none of its own, which
   *   is answered as the RFCs demand
   */
  receive?(stanza: Element): 'taken' | null;
  /** The component is to go: its last words. The stream is closed when this has settled. */
  close?(): Promise<void>;
};

/** @returns what serves it, until it goes or its domain changes */
export type Serve = (component: Component) => Service;
