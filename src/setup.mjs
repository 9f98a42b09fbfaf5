/** Makes a fresh clone ready, then runs a command. Works on Node 20 and without node_modules. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { isatty } from 'node:tty';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const BIN = join(ROOT, 'node_modules', '.bin');
/** Rows pass through and are gone: a small young generation holds a backlog in 100 MB less. */
const SMALL = ['--max-semi-space-size=8'];
const NODE_MAJOR = 24;
const UNAVAILABLE = 69; // EX_UNAVAILABLE of sysexits.h
const PATH = (process.env.PATH ?? '').split(delimiter);
const USUAL = '/usr/bin:/usr/sbin:/usr/local/bin:/opt/homebrew/bin:/opt/homebrew/sbin'.split(':');
// The tests have them read Postgres, which takes packages besides.
const SERVERS = {
  prosody: {
    program: 'prosody',
    formula: 'prosody/prosody/prosody',
    besides: ['lua-dbi-postgresql', 'prosody-modules'],
  },
  ejabberd: { program: 'ejabberdctl', formula: 'ejabberd', besides: ['erlang-p1-pgsql'] },
  kamailio: { program: 'kamailio', formula: 'kamailio', besides: ['kamailio-postgres-modules'] },
};
/** @typedef {keyof typeof SERVERS} Server */
/** @type {Record<string, Server[]>} */
const NEEDED_BY = { demo: ['prosody'], test: ['prosody', 'ejabberd', 'kamailio'] };

// Debian starts what it installs, unless policy-rc.d forbids it, and again at every boot, unless it
// is disabled. A policy-rc.d that the machine has already is left as it is.
const APT_SCRIPT = `
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  trap 'rm -f $policy' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\\nexit 101\\n' >$policy && chmod 755 $policy || exit 1
fi
apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" || exit 1
if command -v systemctl; then for name; do systemctl disable "$name" || true; done; fi`;

const say = console.error;

/** @param {string} root whose node_modules may lack the packages of other platforms */
export const hasPackages = (root) => {
  if (!existsSync(join(root, 'node_modules'))) return false;
  const wanted = readPackages(join(root, 'package-lock.json'));
  const there = readPackages(join(root, 'node_modules', '.package-lock.json'));
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => !path || optional || there[path]?.version === version,
  );
};

/** @type {(file: string) => Record<string, { version?: string, optional?: boolean }>} */
const readPackages = (file) =>
  existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).packages : {};

/** @type {(names: Server[], directories: string[]) => Server[]} */
export const findMissing = (names, directories) =>
  names.filter((name) => !directories.some((d) => existsSync(join(d, SERVERS[name].program))));

/** Of Debian. @type {(command: string, names: Server[]) => string[]} */
const packagesFor = (command, names) =>
  names.flatMap((name) => [name, ...(command === 'test' ? SERVERS[name].besides : [])]);

/** @type {(command: string, names: Server[]) => string} */
const adviceFor = (command, names) => `
  Debian, Ubuntu:  sudo apt-get install ${packagesFor(command, names).join(' ')}
  Alpine:          sudo apk add ${names.join(' ')}
  macOS:           brew install ${names.map((name) => SERVERS[name].formula).join(' ')}`;

/** Shows the output only of what fails. @param {string} text @param {string[]} command */
const step = async (text, [program = '', ...args], cwd = ROOT) => {
  // `npm run` has put a Node first that npm may be about to replace.
  const env = { ...process.env, PATH: PATH.filter((path) => path !== BIN).join(delimiter) };
  const child = spawn(program, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  /** @type {Buffer[]} */
  const output = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => output.push(data));
  process.stderr.write(text);
  const dots = setInterval(() => process.stderr.isTTY && process.stderr.write('.'), 1000);
  const code = await new Promise((done) => {
    child.on('close', done).on('error', (error) => done(error.message));
  });
  clearInterval(dots);
  say(code === 0 ? ': done' : `: failed (${code})\n${Buffer.concat(output)}`);
  return code === 0;
};

const npmInstall = () => {
  const command = existsSync(join(ROOT, 'package-lock.json')) ? 'ci' : 'install';
  const flags = '--include=dev --include=optional --no-audit --no-fund --loglevel=error';
  return ['npm', command, ...flags.split(' ')];
};

/** @param {string} path */
const isNode = (path) => {
  const { stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' });
  return Number.parseInt(stdout?.slice(1) ?? '', 10) >= NODE_MAJOR;
};

const findNode = () => [join(BIN, 'node'), join(ROOT, 'node_modules/node/bin/node')].find(isNode);

/** Where install scripts are off, the package `node` is empty: its script is run here. */
const fetchNode = async () => {
  const home = join(ROOT, 'node_modules', 'node');
  const command = ['node', 'installArchSpecificPackage.js'];
  if (existsSync(home)) await step(`Fetching Node ${NODE_MAJOR}`, command, home);
  return findNode() ?? [process.execPath].find(isNode);
};

/** @type {(command: string, names: Server[]) => Promise<void>} */
const installServers = async (command, names) => {
  const sudo = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  if (!existsSync('/usr/bin/apt-get') || spawnSync('env', [...sudo, 'true']).status) return;
  const apt = [...sudo, 'sh', '-c', APT_SCRIPT, 'sh', ...packagesFor(command, names)];
  await step(`Installing ${names.join(' and ')} (its service stays off)`, apt);
};

/** Whether the command can go on. @param {string} command */
const prepareServers = async (command) => {
  const wanted = findMissing(NEEDED_BY[command] ?? [], [...PATH, ...USUAL]);
  if (wanted.length > 0) await installServers(command, wanted);
  const missing = findMissing(wanted, [...PATH, ...USUAL]);
  if (missing.length === 0) return true;
  const canDoWithout = command === 'test' && !process.env.CI;
  const effect = canDoWithout ? 'its tests are skipped' : `${command} needs it`;
  say(`Not installed: ${missing.join(', ')}; ${effect}. To install:${adviceFor(command, missing)}`);
  return canDoWithout;
};

/** @type {(node: string, args: string[]) => Promise<number>} */
const run = (node, args) => {
  const { ppid } = process;
  const child = spawn(node, args, { stdio: 'inherit' });
  // A terminal's Ctrl-C has reached the command already, and a second would cut its stopping short.
  process.on('SIGINT', () => ![0, 1, 2].some(isatty) && child.kill('SIGINT'));
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  // A SIGTERM for npm ends npm and its shell, and reaches nobody else.
  const follow = () => process.ppid === ppid || child.kill('SIGTERM');
  if (process.env.npm_lifecycle_event) setInterval(follow, 500).unref();
  return new Promise((done, fail) => {
    child.on('error', fail);
    child.on('exit', (code, signal) => done(code ?? 128 + constants.signals[signal ?? 'SIGTERM']));
  });
};

/** @param {string[]} args */
const main = async (args) => {
  if (!hasPackages(ROOT) && !(await step('Installing packages', npmInstall()))) return UNAVAILABLE;
  const node = findNode() ?? (await fetchNode());
  if (!node) say(`Rowgram needs Node ${NODE_MAJOR} or later, and this is ${process.version}`);
  if (!node || !(await prepareServers(args[0] ?? ''))) return UNAVAILABLE;
  if (args[0] === 'test') return run(node, [join(ROOT, 'test', 'run.ts'), ...args.slice(1)]);
  return run(node, [...SMALL, join(ROOT, 'src', 'main.ts'), ...args]);
};

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = await main(process.argv.slice(2));
}
