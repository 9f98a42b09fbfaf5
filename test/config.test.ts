/** The environment becomes a configuration, or a word on what is wrong with it. */
import assert from 'node:assert/strict';
import { homedir } from 'node:os';
import { test } from 'node:test';
import { readConfig } from '../src/config.ts';
import { ConfigError } from '../src/errors.ts';

test('an empty environment is a configuration', () => {
  const { dataDir, ...config } = readConfig({});
  assert.deepEqual(config, {
    databaseUrl: null,
    schema: 'public',
    gateways: ['xmpp', 'bytestreams'],
    logLevel: 'info',
    attachmentDir: null,
  });
  const expected = process.getuid?.() === 0 ? '/var/lib/rowgram' : homedir();
  assert.ok(dataDir.startsWith(expected));
});

test('an empty variable is as good as none', () => {
  const empty = {
    DATABASE_URL: '',
    ROWGRAM_SCHEMA: '',
    ROWGRAM_GATEWAYS: '',
    ROWGRAM_DATA_DIR: '',
    ROWGRAM_ATTACHMENT_DIR: '',
    LOG_LEVEL: '',
  };
  assert.deepEqual(readConfig(empty), readConfig({}));
});

test('each variable is read', () => {
  const config = readConfig({
    DATABASE_URL: 'postgresql://u:p@h/d',
    ROWGRAM_SCHEMA: 'chat_1',
    ROWGRAM_GATEWAYS: ' xmpp ',
    ROWGRAM_DATA_DIR: '/data',
    ROWGRAM_ATTACHMENT_DIR: '/files',
    LOG_LEVEL: 'debug',
  });
  assert.deepEqual(config, {
    databaseUrl: 'postgresql://u:p@h/d',
    schema: 'chat_1',
    gateways: ['xmpp'],
    logLevel: 'debug',
    dataDir: '/data',
    attachmentDir: '/files',
  });
});

test('a wrong value is told by the name of its variable, and an address without its password', () => {
  const wrong: [name: string, value: string][] = [
    ['DATABASE_URL', 'mysql://u:hidden@h/d'],
    ['DATABASE_URL', 'u:hidden@h'],
    ['ROWGRAM_SCHEMA', 'Chat'],
    ['ROWGRAM_SCHEMA', 'a"b'],
    ['ROWGRAM_SCHEMA', 'a'.repeat(64)],
    ['ROWGRAM_GATEWAYS', 'xmpp,fax'],
    ['ROWGRAM_GATEWAYS', 'xmpp,'],
    ['LOG_LEVEL', 'loud'],
    ['ROWGRAM_ATTACHMENT_DIR', 'files'],
  ];
  for (const [name, value] of wrong) {
    assert.throws(
      () => readConfig({ [name]: value }),
      (error) =>
        error instanceof ConfigError &&
        error.message.includes(name) &&
        !error.message.includes('hidden'),
      `${name}=${value}`,
    );
  }
});

test('a gateway that is named twice runs once', () => {
  assert.deepEqual(readConfig({ ROWGRAM_GATEWAYS: 'xmpp,xmpp' }).gateways, ['xmpp']);
});
