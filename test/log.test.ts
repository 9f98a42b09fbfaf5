/** What the log writes, and what it never does. Run in a process of its own, since it writes to a file number. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

const module = JSON.stringify(import.meta.resolve('../src/log.ts'));

const run = (level: string, body: string): Record<string, unknown>[] => {
  const script = `import { createLog } from ${module}; const log = createLog('${level}'); ${body}`;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  });
  return stdout
    .trim()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
};

test('a line is a JSON object with a time, the level in words and the facts', () => {
  const [line] = run('info', "log.info({ row: 17, ms: 42 }, 'row sent');");
  const { time, ...rest } = line ?? {};
  assert.deepEqual(rest, { level: 'info', row: 17, ms: 42, msg: 'row sent' });
  assert.equal(new Date(String(time)).toISOString(), time);
});

test('what is below the level is left out', () => {
  const lines = run('warn', "log.info('one'); log.warn('two'); log.error('three');");
  assert.deepEqual(
    lines.map(({ msg }) => msg),
    ['two', 'three'],
  );
  assert.deepEqual(run('silent', "log.error('four');"), []);
});

test('secrets are never written, at the top, in an object and in a child log', () => {
  const body = ['password', 'accPass', 'acc_pass', 'secret', 'token', 'url']
    .map(
      (name) => `
      log.info({ ${name}: 'hidden' }, 'top');
      log.info({ account: { ${name}: 'hidden', id: 1 } }, 'nested');
      log.child({ ${name}: 'hidden' }).info('child');`,
    )
    .join('');
  const lines = run('info', body);
  assert.equal(lines.length, 18);
  assert.doesNotMatch(JSON.stringify(lines), /hidden/);
  assert.match(JSON.stringify(lines), /"account":\{"password":"\(secret\)","id":1\}/);
});

test('an error is written with its stack and its cause, without what a driver hangs on it', () => {
  const body = `
    const cause = new Error('connection refused');
    const err = Object.assign(new Error('not reached', { cause }), {
      config: { password: 'hidden' }, url: 'postgres://u:hidden@h',
    });
    log.error({ err }, 'failed');`;
  const [line] = run('info', body);
  const text = JSON.stringify(line);
  assert.match(text, /not reached/);
  assert.match(text, /connection refused/);
  assert.doesNotMatch(text, /hidden/);
});
