/** Elements taken out of a stanza, to be written or kept without it. */
import { type Element, xml } from '@xmpp/client';

const prefixOf = (name: string): string => (name.includes(':') ? (name.split(':')[0] ?? '') : '');

/** The prefixes in use in the element and below it; '' stands for the default namespace. */
const usedPrefixes = (element: Element): Set<string> => {
  const used = new Set<string>();
  const pending: (Element | string)[] = [element];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (typeof node === 'string') continue;
    used.add(prefixOf(node.name));
    for (const name of Object.keys(node.attrs)) if (name.includes(':')) used.add(prefixOf(name));
    for (const child of node.children) pending.push(child);
  }
  return used;
};

/**
 * The element with all the namespace declarations it needs, which may stand on elements around it.
 * Its children are those of the original and are not to be changed.
 */
export const detachElement = (element: Element): Element => {
  const copy = new xml.Element(element.name, element.attrs);
  const used = usedPrefixes(element);
  for (let outer = element.parent; outer !== null; outer = outer.parent) {
    for (const [name, value] of Object.entries(outer.attrs)) {
      const prefix = name === 'xmlns' ? '' : name.replace(/^xmlns:/, '');
      const isDeclaration = name === 'xmlns' || name.startsWith('xmlns:');
      if (isDeclaration && used.has(prefix)) copy.attrs[name] ??= value;
    }
  }
  copy.children = [...element.children];
  return copy;
};
