/** XHTML-IM as a client shows it that knows no styles (XEP-0071 §4: the meaning stands in the body). */
import type { Element } from '@xmpp/client';

/** Text under way. A peer decides how much of it there is: nothing here may take time but by its length. */
type Page = {
  lines: string[];
  /** The line that is not done yet, and whether a blank would be lost at its end. */
  line: string;
  isBlank: boolean;
  /** Of a list: what stands before its next item. */
  mark: () => string;
};

/** Where a node stands: whether its white space counts, and in how many quotes and lists. */
type Place = { isPre: boolean; level: number };

/** Deeper quotes and items are not marked: marks on every line would make a text many times as long. */
const maxLevel = 5;
const blocks = new Set('address blockquote div h1 h2 h3 h4 h5 h6 li ol p pre ul'.split(' '));

/** Numbers in an ordered list, as the examples of the XEP have it; bullets in any other. */
const createMarks = (list: Element): (() => string) => {
  let count = 0;
  return () => {
    count += 1;
    return list.getName() === 'ol' ? `${count}. ` : '• ';
  };
};

const add = (page: Page, text: string): void => {
  if (text === '') return;
  page.line += text;
  page.isBlank = text.endsWith(' ');
};

const endLine = (page: Page): void => {
  page.lines.push(page.line.trimEnd());
  page.line = '';
  page.isBlank = true;
};

const endBlock = (page: Page): void => {
  if (page.line.trim() !== '') endLine(page);
  page.line = '';
  page.isBlank = true;
};

const writeText = (page: Page, text: string): void => {
  const line = text.replace(/[ \t\r\n]+/g, ' ');
  add(page, page.isBlank && line.startsWith(' ') ? line.slice(1) : line);
};

const writePre = (page: Page, text: string): void => {
  const [first = '', ...others] = text.split('\n');
  add(page, first);
  for (const other of others) {
    endLine(page);
    add(page, other);
  }
};

const writeLines = (page: Page, lines: string[], first: string, others: string): void => {
  let prefix = first;
  for (const line of lines) {
    page.lines.push(prefix + line);
    prefix = others;
  }
};

const writeBlock = (page: Page, block: Element, place: Place): void => {
  endBlock(page);
  const name = block.getName();
  const isMarked = (name === 'li' || name === 'blockquote') && place.level < maxLevel;
  const lines = readLines(block, {
    isPre: place.isPre || name === 'pre',
    level: isMarked ? place.level + 1 : place.level,
  });
  if (!isMarked) writeLines(page, lines, '', '');
  else if (name === 'blockquote') writeLines(page, lines, '> ', '> ');
  else {
    const mark = page.mark();
    writeLines(page, lines.length > 0 ? lines : [''], mark, ' '.repeat(mark.length));
  }
};

const writeLink = (page: Page, link: Element, place: Place): void => {
  const uri = link.attrs.href ?? '';
  const text = readLines(link, place).join('\n').trim();
  const isSame = [uri, uri.replace(/^(?:mailto|xmpp):/, '')].includes(text);
  const shown = text === '' ? uri : `${text} <${uri}>`;
  add(page, isSame ? text : shown);
};

const writeNode = (page: Page, node: Element | string, place: Place): void => {
  const write = place.isPre ? writePre : writeText;
  const name = typeof node === 'string' ? '' : node.getName();
  if (typeof node === 'string') write(page, node);
  else if (name === 'br') endLine(page);
  else if (name === 'img') write(page, node.attrs.alt || (node.attrs.src ?? ''));
  else if (name === 'a') writeLink(page, node, place);
  else if (blocks.has(name)) writeBlock(page, node, place);
  else for (const child of node.children) writeNode(page, child, place);
};

const readLines = (element: Element, place: Place): string[] => {
  const page: Page = { lines: [], line: '', isBlank: true, mark: createMarks(element) };
  for (const child of element.children) writeNode(page, child, place);
  endBlock(page);
  return page.lines;
};

/**
 * Quotes are marked with `>`, items with a bullet or their number, links are followed by where they lead
 * unless they say it, and of images there is the alternative text.
 *
 * @param body a clean one, as `cleanXhtml` gives it
 */
export const readPlainText = (body: Element): string => {
  const lines = readLines(body, { isPre: false, level: 0 });
  const isText = (line: string): boolean => line !== '';
  const start = lines.findIndex(isText);
  return start === -1 ? '' : lines.slice(start, lines.findLastIndex(isText) + 1).join('\n');
};
