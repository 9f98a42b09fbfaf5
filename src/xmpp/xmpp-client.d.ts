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
    append(...children: (Element | string)[]): void;
    remove(child: Element): void;
    root(): Element;
    toString(): string;
  }

  type Child = Element | string | undefined | false | null;
  export const xml: {
    (name: string, attrs?: object | string, ...children: (Child | Child[])[]): Element;
    Element: new (name: string, attrs?: object) => Element;
  };

  export interface Mechanism {
    name: string;
    clientFirst: boolean;
    response(credentials: { username: string; password: string }): string | Promise<string>;
    challenge(text: string): void | Promise<void>;
  }

  /** The negotiation engine: one connection's life from connect to bound. */
  export interface ClientEntity {
    timeout: number;
    transports: unknown[];
    reconnect: { stop(): void };
    saslFactory: { _mechs: { name: string; mech: new () => Mechanism }[] };
    on(event: string, listener: (...args: never[]) => void): ClientEntity;
    removeAllListeners(event?: string): ClientEntity;
    connect(service: string): Promise<unknown>;
    open(options: { domain: string }): Promise<unknown>;
    _onData(data: Uint8Array): void;
    _onElement(element: Element): void;
  }

  export function client(options: {
    service: string;
    domain: string;
    credentials(
      authenticate: (
        credentials: { username: string; password: string },
        mechanism: string,
      ) => Promise<void>,
      mechanisms: string[],
    ): Promise<void>;
  }): ClientEntity;
}
