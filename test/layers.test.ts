/** Holds src/ to its layers: who imports whom, where SQL stands, what is pure. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path/posix';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

type Import = { target: string; isTypeOnly: boolean };
type Layer = {
  /** Of paths in src/. */
  path: RegExp;
  /** What its values may come from: paths in src/, or packages. `$folder` is the file's own. */
  values: string[];
  /** What may be imported as a type, besides. */
  types?: string[];
  isPure?: true;
};

const PURE_NODE = ['node:buffer', 'node:crypto', 'node:events', 'node:string_decoder', 'node:url'];
const DATABASE = ['@slonik/pg-driver', 'node-pg-migrate', 'pg', 'pg-listen', 'slonik'];
const CORE = ['config.ts', 'errors.ts', 'gateway.ts', 'log.ts'];
// The folders of src/ that are no gateway.
const SHARED = ['components', 'db', 'demo', 'xmpp'];
const LIVE =
  'component|files|functions|hearing|inbox|kinds|link|outbox|part|people|picture|queries|reception|reflections|repeat|sentCursor|visit|watch';

/** The first layer that a path fits is its own. */
const LAYERS: Layer[] = [
  { path: /^main\.ts$/, values: ['.*'] },
  { path: /^errors\.ts$/, values: [] },
  { path: /^log\.ts$/, values: ['pino'] },
  { path: /^config\.ts$/, values: ['errors.ts', 'node:.*'] },
  {
    path: /^[a-zA-Z]+\.ts$/,
    values: ['errors.ts', '[a-zA-Z]+.ts', 'db/.*', 'node:.*', 'slonik'],
    types: ['pg'],
  },
  { path: /^setup\.mjs$/, values: ['node:.*'] },
  {
    path: /(^|\/)wire\//,
    // node:net tells what is an IP address.
    values: ['errors.ts', '$folder/.*', ...PURE_NODE, 'node:net', '@xmpp/client', 'saxes'],
    isPure: true,
  },
  {
    path: /^db\//,
    values: ['errors.ts', 'db/.*', 'node:.*', ...DATABASE, 'zod'],
    types: ['log.ts'],
  },
  { path: /^xmpp\//, values: ['errors.ts', 'xmpp/.*', 'node:.*', '@xmpp/.*', 'socks', 'zod'] },
  { path: /^demo\//, values: ['.*'] },
  {
    path: /\/store\.ts$/,
    values: ['errors.ts', 'db/.*', 'pg', 'slonik', 'zod'],
    types: ['$folder/.*', 'xmpp/.*'],
  },
  {
    path: /\/session\.ts$/,
    values: ['errors.ts', '$folder/wire/.*', 'node:.*', 'socks'],
    types: ['log.ts'],
  },
  {
    path: /\/gateway\.ts$/,
    values: [...CORE, '$folder/.*', 'components/.*', 'xmpp/.*', 'db/.*', 'node:.*', 'slonik'],
  },
  {
    path: new RegExp(`/(${LIVE})\\.ts$`),
    values: [
      ...CORE,
      '$folder/.*',
      'components/.*',
      'xmpp/.*',
      'db/.*',
      'node:.*',
      '@xmpp/client',
      'pg',
      'sharp',
    ],
    types: ['slonik'],
  },
  {
    path: /\/stanzas\.ts$/,
    // What a message holds is long enough for files of its own.
    values: ['errors.ts', 'xmpp/wire/.*', '$folder/(text|content|readContent).ts', ...PURE_NODE],
    types: ['$folder/.*', '@xmpp/client'],
    isPure: true,
  },
  {
    // All else in a gateway's folder is a rule.
    path: /\//,
    values: [
      'errors.ts',
      'xmpp/wire/.*',
      `$folder/(?!store|session|gateway|${LIVE}).*`,
      ...PURE_NODE,
    ],
    types: ['$folder/.*', 'db/.*', '@xmpp/client'],
    isPure: true,
  },
];

const IMPORT =
  /^(?:import|export)\s+(type\s+)?([^'";]*?\sfrom\s+)?'([^']+)'|\bimport\(\s*'([^']+)'/gm;

/** What a file imports; paths are of src/. */
const readImports = (path: string, text: string): Import[] =>
  [...text.matchAll(IMPORT)].map(([, type, names = '', from, dynamic]) => {
    const target = from ?? dynamic ?? '';
    const braces = /^\{([^}]*)\}\s*from\s+$/.exec(names)?.[1]?.split(',') ?? [''];
    const areTypes = braces.every((name) => /^\s*type\s/.test(name) || name.trim() === '');
    return {
      target: target.startsWith('.') ? join(dirname(path), target) : target,
      isTypeOnly: type !== undefined || (areTypes && braces.join('').trim() !== ''),
    };
  });

const fits = (target: string, patterns: string[], folder: string): boolean =>
  patterns.some((pattern) =>
    new RegExp(`^${pattern.replace('$folder', folder).replace(/\.ts$/, '\\.ts')}$`).test(target),
  );

const withoutComments = (text: string): string =>
  text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/ .*$/gm, '');

const SQL =
  /(['"`])\s*(?:with\s[^'"`]*)?(?:select\b(?!\1)[^'"`]*\sfrom\s|insert\s+into\s|update\s+\w+\s[^'"`]*\bset\s|delete\s+from\s)/i;
const MAY_HAVE_SQL = /^db\/|\/store\.ts$|^status\.ts$|^demo\//;
const IMPURE =
  /\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\bprocess\.|\bconsole\.|\brandom(?:UUID|Bytes|Int)\(|\bsetTimeout\(|\bsetInterval\(|\bperformance\./;

const findFaults = (path: string, text: string): string[] => {
  const layer = LAYERS.find(({ path: pattern }) => pattern.test(path));
  if (!layer) return [`${path} is in no layer`];
  const [top = ''] = path.split('/');
  const folder = path.includes('wire/') ? dirname(path) : top;
  const code = withoutComments(text);
  const faults = readImports(path, text)
    .filter(({ target, isTypeOnly }) => {
      const allowed = isTypeOnly ? layer.values.concat(layer.types ?? []) : layer.values;
      return !fits(target, allowed, folder);
    })
    .map(({ target }) => `${path} may not import ${target}`);
  if (SQL.test(code) && !MAY_HAVE_SQL.test(path)) faults.push(`${path} has SQL`);
  const impure = layer.isPure && IMPURE.exec(code);
  if (impure) faults.push(`${path} is to be pure and has ${impure[0]}`);
  return faults;
};

const sources = globSync('src/**/*.{ts,mjs}', { cwd: ROOT })
  .filter((path) => !path.endsWith('.d.ts'))
  .sort();

test('every file of src/ keeps to its layer', () => {
  assert.ok(sources.length > 30);
  const faults = sources.flatMap((path) =>
    findFaults(path.slice('src/'.length), readFileSync(join(ROOT, path), 'utf8')),
  );
  assert.deepEqual(faults, []);
});

test('gateways do not import each other, nor are they imported but by main and the demo', () => {
  const gateways = [...new Set(sources.map((path) => path.split('/')[1] ?? ''))].filter(
    (folder) => !folder.includes('.') && !SHARED.includes(folder),
  );
  assert.ok(gateways.includes('accounts'));
  const faults = sources.flatMap((source) => {
    const path = source.slice('src/'.length);
    const [own = ''] = path.split('/');
    if (path === 'main.ts' || own === 'demo') return [];
    return readImports(path, readFileSync(join(ROOT, source), 'utf8'))
      .filter(({ target }) => gateways.some((folder) => target.startsWith(`${folder}/`)))
      .filter(({ target }) => !target.startsWith(`${own}/`))
      .map(({ target }) => `${path} may not import ${target}`);
  });
  assert.deepEqual(faults, []);
});

const BROKEN: [path: string, text: string, fault: RegExp][] = [
  ['muc/wire/a.ts', "import { b } from '../store.ts';", /may not import muc\/store\.ts/],
  ['muc/wire/a.ts', "import type { B } from '../store.ts';", /may not import muc\/store\.ts/],
  ['muc/wire/a.ts', "import { b } from '../../oscar/wire/b.ts';", /oscar\/wire\/b\.ts/],
  ['muc/wire/a.ts', "import { readFile } from 'node:fs/promises';", /node:fs/],
  ['muc/join.ts', "import { a } from './store.ts';", /may not import muc\/store\.ts/],
  ['muc/join.ts', "import { a, type B } from './store.ts';", /may not import muc\/store\.ts/],
  ['muc/join.ts', "import { a } from '../db/queue.ts';", /may not import db\/queue\.ts/],
  ['muc/join.ts', "import type { A } from '../sip/store.ts';", /may not import sip\/store\.ts/],
  ['muc/join.ts', 'export const a = () => Date.now();', /pure and has Date\.now/],
  ['muc/stanzas.ts', "import { a } from './store.ts';", /may not import muc\/store\.ts/],
  ['muc/store.ts', "import { a } from './stanzas.ts';", /may not import muc\/stanzas\.ts/],
  ['muc/store.ts', "import {\n  a,\n  b,\n} from\n  './stanzas.ts';", /muc\/stanzas\.ts/],
  ['muc/gateway.ts', "import { a } from '../sip/gateway.ts';", /may not import sip\/gateway\.ts/],
  ['muc/join.ts', "import { a } from '../components/link.ts';", /may not import components\/link/],
  ['components/link.ts', "import { a } from '../muc/join.ts';", /may not import muc\/join\.ts/],
  ['muc/gateway.ts', "const a = await import('../sip/join.ts');", /may not import sip\/join\.ts/],
  ['muc/gateway.ts', 'db.query(sql`select id from muc_rooms`);', /has SQL/],
  ['muc/gateway.ts', "db.query('\n  delete from muc_rooms');", /has SQL/],
  ['muc/gateway.ts', 'db.query(`update muc_rooms r set a = 1`);', /has SQL/],
  ['db/queue.ts', "import { a } from '../accounts/store.ts';", /may not import accounts\/store/],
  ['xmpp/session.ts', "import { a } from '../db/queue.ts';", /may not import db\/queue\.ts/],
  ['status.ts', "import { a } from './accounts/store.ts';", /may not import accounts\/store\.ts/],
  ['errors.ts', "import { a } from './log.ts';", /may not import log\.ts/],
];

test('what breaks a layer is found', () => {
  for (const [path, text, fault] of BROKEN) {
    assert.match(findFaults(path, text).join(), fault, `${path}: ${text}`);
  }
});

test('what keeps to its layer is left alone', () => {
  const kept: [path: string, text: string][] = [
    ['muc/join.ts', "import type { Room } from './store.ts';\nimport { a } from './stanzas.ts';"],
    ['muc/join.ts', "import { type Room, type User } from './store.ts';"],
    ['muc/join.ts', '// Date.now() would not do.\nexport const a = new Date(0);'],
    ['muc/store.ts', 'db.any(sql`select id from muc_rooms`);'],
    ['muc/gateway.ts', "import { a } from '../components/gateway.ts';"],
    ['muc/gateway.ts', "say('the update of a set is told from here');"],
  ];
  for (const [path, text] of kept) assert.deepEqual(findFaults(path, text), [], text);
});
