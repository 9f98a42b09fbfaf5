/** A proxy with more than one streamhost, each with a thread of its own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashStream } from '../../src/bytestreams/wire/streamHash.ts';
import { askStream, readAll, readBytes } from '../peers/socks5Client.ts';
import { createProxyScene, findListenPort, NS, PROXY } from '../support/proxyScene.ts';
import { PROSODY } from '../support/scene.ts';

test('clients are told one in turn, streams are found at any, and a quota holds for all together', {
  skip: PROSODY.skip,
  timeout: 60_000,
}, async () => {
  const scene = await createProxyScene(PROSODY);
  const { db } = scene;
  try {
    const second = await findListenPort();
    await db.rows(
      `insert into bytestream_streamhosts (proxy, bind_address, port) values ($1, '127.0.0.1', $2)`,
      [PROXY, second],
    );
    await db.rows(
      "insert into bytestream_limits (who, quota_bytes, quota_period) values ('*', 10000, 'day')",
    );
    await db.until(
      'select from bytestream_streamhosts having count(*) filter (where state = $1) = 2',
      ['listening'],
    );
    const told = new Set<string | undefined>();
    for (let i = 0; i < 2; i += 1) {
      const { element } = await scene.query(scene.requester);
      told.add(element.find('query', NS)?.find('streamhost')?.attrs.port);
    }
    assert.deepEqual(told, new Set([`${scene.port}`, `${second}`]));
    const open = async (sid: string, port: number) => {
      const hash = hashStream(sid, scene.requester.jid, scene.target.jid);
      const { socket: target } = await askStream(port, hash);
      const { socket: requester } = await askStream(port, hash);
      assert.equal((await scene.activate(sid)).element.attrs.type, 'result');
      return { requester, target };
    };
    const one = await open('one', scene.port);
    const two = await open('two', second);
    one.requester.write(Buffer.alloc(6_000));
    await readBytes(one.target, 6_000);
    await db.until("select from bytestream_streams where sid = 'one' and bytes_up = 6000");
    two.requester.write(Buffer.alloc(6_000));
    assert.equal((await readAll(two.target)).length, 4_000);
    two.target.end();
    await db.until("select from bytestream_log where reason = 'quota' and bytes_up = 4000");
    one.requester.destroy();
    one.target.destroy();
  } finally {
    await scene.close();
  }
});
