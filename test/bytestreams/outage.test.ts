/** What streams and their figures become when the database or the daemon goes. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { readAll, readBytes, untilClosed } from '../peers/socks5Client.ts';
import { spawnDaemon } from '../support/daemon.ts';
import { createProxyScene } from '../support/proxyScene.ts';
import { PROSODY } from '../support/scene.ts';
import { stoppableDatabase } from '../support/stoppableDatabase.ts';

const { skip } = PROSODY;
const options = { skip, timeout: 60_000 };

const SELECT_USED =
  'select sum(streams)::float8 as streams, sum(bytes_up)::float8 as up from bytestream_usage';

test(
  'streams go on while the database is away, and no byte of them is lost to the log',
  options,
  async () => {
    await using db = await stoppableDatabase();
    const scene = await createProxyScene(PROSODY, {}, db);
    try {
      const ends = await scene.open('ends meanwhile');
      const goes = await scene.open('goes on');
      goes.requester.write(randomBytes(100_000));
      await readBytes(goes.target, 100_000);
      await db.until("select from bytestream_streams where sid = 'goes on' and bytes_up = 100000");
      await db.stop();
      const sent = randomBytes(2_000_000);
      ends.requester.end(sent);
      ends.target.end();
      const got = createHash('sha1').update(await readAll(ends.target));
      assert.equal(got.digest('hex'), createHash('sha1').update(sent).digest('hex'));
      goes.requester.write(randomBytes(50_000));
      await readBytes(goes.target, 50_000);
      await delay(3_000);
      await db.start();
      const ended = await db.until<{ bytes_up: number; reason: string }>(
        "select * from bytestream_log where sid = 'ends meanwhile'",
      );
      assert.deepEqual([ended.bytes_up, ended.reason], [2_000_000, 'eof']);
      await db.until("select from bytestream_streams where sid = 'goes on' and bytes_up = 150000");
      // Nor is the stream taken for a killed one once the daemon has its domain again.
      await db.until("select from xmpp_components where state = 'online'");
      await db.until("select from bytestream_streamhosts where state = 'listening'");
      await delay(1_000);
      goes.requester.end('end');
      goes.target.end();
      assert.equal((await readAll(goes.target)).toString(), 'end');
      await db.until("select from bytestream_log where sid = 'goes on' and reason = 'eof'");
      assert.deepEqual(await db.rows(SELECT_USED), [{ streams: 2, up: 2_150_003 }]);
    } finally {
      await scene.close().catch(() => {});
    }
  },
);

test(
  'streams of a daemon that was killed are logged as such, those of one that stops as ended by it',
  options,
  async () => {
    const scene = await createProxyScene(PROSODY);
    try {
      const { db } = scene;
      const stopped = await scene.open('stopped');
      stopped.requester.write('some');
      await readBytes(stopped.target, 4);
      await scene.daemon.stop();
      await untilClosed(stopped.requester);
      assert.deepEqual(await db.rows('select reason, bytes_up from bytestream_log'), [
        { reason: 'shutdown', bytes_up: 4 },
      ]);
      await using first = spawnDaemon(db.address, { ROWGRAM_GATEWAYS: 'bytestreams' });
      await db.until("select from bytestream_streamhosts where state = 'listening'");
      await db.until("select from xmpp_components where state = 'online'");
      const killed = await scene.open('killed');
      killed.requester.write('bytes');
      await readBytes(killed.target, 5);
      await db.until('select from bytestream_streams where bytes_up = 5');
      first.kill('SIGKILL');
      await first.ended;
      await untilClosed(killed.target);
      await using _second = await scene.startDaemon();
      await db.until("select from bytestream_log where reason = 'crash' and bytes_up = 5");
      assert.deepEqual(await db.rows('select from bytestream_streams'), []);
      assert.deepEqual(await db.rows(SELECT_USED), [{ streams: 2, up: 9 }]);
    } finally {
      await scene.close();
    }
  },
);

test(
  'a port that is taken is told in the row, and had as soon as it is free',
  options,
  async () => {
    const scene = await createProxyScene(PROSODY);
    try {
      const { db, port } = scene;
      await db.rows(
        `insert into bytestream_streamhosts (proxy, bind_address, port, public_host)
      values ('Proxy.localhost', '127.0.0.1', $1, 'other.example.org')`,
        [port],
      );
      const failed = await db.until<{ state_info: string }>(
        "select state_info from bytestream_streamhosts where state = 'failed'",
      );
      assert.match(failed.state_info, /EADDRINUSE/);
      const { requester, target } = await scene.open('goes on');
      await db.rows('update bytestream_streamhosts set enabled = false where public_host is null');
      await db.until(
        "select from bytestream_streamhosts where state = 'listening' and public_host is not null",
      );
      const told = await scene.query(scene.requester);
      assert.match(told.xml, /host=.other\.example\.org./);
      requester.end('through');
      assert.equal((await readAll(target)).toString(), 'through');
    } finally {
      await scene.close();
    }
  },
);
