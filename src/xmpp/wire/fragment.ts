/** Stanzas that users write, as elements. */
import type { Element } from '@xmpp/client';
import { ProtocolError, RejectError } from '../../errors.ts';
import { createReader, type XmlLimits } from './reader.ts';

const fragmentLimits = { maxStanzaBytes: 256 * 1024, maxDepth: 64, maxAttributes: 64 };

const readFragment = (text: string, limits: Required<XmlLimits>): Element => {
  let root: Element | null = null;
  const reader = createReader(limits, {
    rootDepth: 1,
    opened: () => undefined,
    closed: (element, depth) => {
      if (depth === 1) root = element;
    },
  });
  reader.write(text);
  reader.end();
  if (root === null) throw new ProtocolError('there is no element', 'not-well-formed');
  return root;
};

/**
 * Reads one element written by a user: white space may surround it, and nothing else.
 *
 * @param limits by default 256 KiB, 64 levels and 64 attributes
 * @throws RejectError `policy-violation` beyond a limit, `bad-request` for all else, with the place as
 *   line:column where it is known
 */
export const parseFragment = (text: string, limits: XmlLimits = {}): Element => {
  const all = { ...fragmentLimits, ...limits };
  if (Buffer.byteLength(text) > all.maxStanzaBytes) {
    throw new RejectError(`the XML is larger than ${all.maxStanzaBytes} bytes`, 'policy-violation');
  }
  try {
    return readFragment(text, all);
  } catch (cause) {
    if (!(cause instanceof ProtocolError)) throw cause;
    const condition = cause.source === 'policy-violation' ? cause.source : 'bad-request';
    throw new RejectError(`the XML is refused: ${cause.message}`, condition, { cause });
  }
};
