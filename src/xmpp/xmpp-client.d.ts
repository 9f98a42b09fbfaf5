/**
 * The part of @xmpp/client 0.14.0 that this project uses. Written by hand because the types on the
 * registry leave out saslFactory, the transports and the parser, which is just what is replaced here.
 */
declare module '@xmpp/client' {
  /** An XML element (ltx). `children` holds elements and unescaped text. */
  export interface Element {
    name: string;
    attrs: Record<string, string | undefined>;
    children: (Element | string)[];
    parent: Element | null;
    is(name: string, xmlns?: string): boolean;
    getName(): string;
    getNS(): string | undefined;
    getChild(name: string, xmlns?: string): Element | undefined;
    getChildren(name: string, xmlns?: string): Element[];
    getChildText(name: string, xmlns?: string): string | null;
    getChildElements(): Element[];
    text(): string;
    append(...children: (Element | string)[]): Element;
    remove(child: Element): Element;
    root(): Element;
    toString(): string;
  }

  type Child = Element | string | undefined | false | null;
  export const xml: {
    (name: string, attrs?: object | string, ...children: (Child | Child[])[]): Element;
    Element: new (name: string, attrs?: object) => Element;
  };

  /** A stream parser as Connection wants it: emits start, element, end and error. */
  export interface StreamParser {
    write(text: string): void;
    on(event: string, listener: (...args: never[]) => void): unknown;
    removeListener(event: string, listener: (...args: never[]) => void): unknown;
  }

  export interface Mechanism {
    name: string;
    clientFirst: boolean;
    response(credentials: { username: string; password: string }): string | Promise<string>;
    challenge(text: string): void | Promise<void>;
  }

  /** The negotiation engine: one connection's life from connect to bound. */
  export interface ClientEntity {
    status: string;
    jid: { toString(): string } | null;
    options: { service: string; domain: string };
    timeout: number;
    socket: unknown;
    parser: StreamParser | null;
    transports: unknown[];
    Transport: unknown;
    reconnect: { stop(): void };
    saslFactory: { _mechs: { name: string; mech: new () => Mechanism }[] };
    on(event: string, listener: (...args: never[]) => void): ClientEntity;
    removeAllListeners(event?: string): ClientEntity;
    emit(event: string, ...args: unknown[]): boolean;
    start(): Promise<unknown>;
    write(text: string): Promise<void>;
    _onData(data: Uint8Array): void;
    _onElement(element: Element): void;
    _attachSocket(socket: unknown): void;
    _ready(resumed: boolean): void;
    _jid(jid: string): void;
    isSecure(): boolean;
  }

  export function client(options: {
    service: string;
    domain: string;
    resource?: string;
    username?: string;
    password?: string;
  }): ClientEntity;
}
