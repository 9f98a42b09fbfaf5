import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { findProsody, startProsody } from '../../src/demo/prosody.ts';
import { connectRaw } from '../peers/rawClient.ts';
import { spawnDaemon } from '../support/daemon.ts';
import { testDatabase } from '../support/database.ts';

const MESSAGES = 2_000;
const KILLS = 5;
const CHUNK = 25;

const skip = findProsody() === null && 'Prosody is not installed';

test('2,000 messages are 2,000 rows in order though the daemon is killed five times: it resumes the stream', {
  skip,
}, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'rowgram-restart-'));
  await using db = await testDatabase();
  const prosody = await startProsody({
    dir,
    accounts: { bot: 'secret', sender: 'secret' },
    // Without an archive to fall back on; a queue that holds what comes while nobody is there.
    settings: `
      modules_disabled = { "s2s", "s2s_auth_certs", "tls", "mam" }
      smacks_max_queue_size = 5000`,
  });
  const { host, port } = prosody;
  await db.rows(
    `insert into xmpp_accounts (enabled, acc_jid, acc_pass, srv_host, srv_port)
    values (true, 'bot@localhost', 'secret', $1, $2)`,
    [host, port],
  );
  const sender = await connectRaw({ host, port, jid: 'sender@localhost', password: 'secret' });
  const send = async (first: number) => {
    for (let number = first; number < first + CHUNK; number += 1) {
      const body = `<body>n:${number}</body>`;
      sender.send(`<message to='bot@localhost' type='chat' id='m${number}'>${body}</message>`);
    }
    await sender.iq(
      `<iq type='get' id='p${first}' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>`,
    );
  };
  const logs: string[] = [];
  let daemon = spawnDaemon(db.address);
  try {
    await db.until(`select from xmpp_accounts where state = 'online'`);
    for (let number = 1; number <= MESSAGES; number += CHUNK) {
      await send(number);
      if (number % (MESSAGES / KILLS) !== 1) continue;
      // Some are rows, some are on their way.
      await db.until('select from xmpp_rx_queue where id > $1', [number - 1], 30_000);
      daemon.kill('SIGKILL');
      await daemon.ended;
      logs.push(daemon.output());
      daemon = spawnDaemon(db.address);
    }
    await db.until(`select from xmpp_rx_queue where message_body = 'n:${MESSAGES}'`, [], 60_000);
    const rows = await db.rows<{ body: string }>(
      'select message_body as body from xmpp_rx_queue order by id',
    );
    assert.deepEqual(
      rows.map(({ body }) => body),
      Array.from({ length: MESSAGES }, (_, index) => `n:${index + 1}`),
    );
    logs.push(daemon.output());
    const resumed = logs.filter((log) => log.includes('"resumed":true'));
    assert.equal(resumed.length, KILLS, logs.join('\n'));
  } finally {
    sender.destroy();
    await daemon[Symbol.asyncDispose]();
    await prosody.stop();
    await rm(dir, { recursive: true, force: true });
  }
});
