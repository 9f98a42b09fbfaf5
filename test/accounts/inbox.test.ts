/** Received messages on their way to their rows, when the database does not take one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createInbox } from '../../src/accounts/inbox.ts';
import { readMessage } from '../../src/accounts/stanzas.ts';
import { parseFragment } from '../../src/xmpp/wire/fragment.ts';
import { testDatabase } from '../support/database.ts';
import { silentLog } from '../support/silentLog.ts';

const OWN = 'me@a.test';

const open = async () => {
  const db = await testDatabase();
  await db.rows(
    `insert into rowgram_shards (gateway, shard, epoch) values ('xmpp', 1, 7), ('xmpp', 2, 7)`,
  );
  const shards = new Map([
    [1, 7],
    [2, 7],
  ]);
  const inbox = createInbox({ address: db.address, epochs: () => shards, log: silentLog });
  const committed: string[] = [];
  const put = (accountId: number, body: string) => {
    const stanza = parseFragment(`<message from='bob@b.test/x'><body>${body}</body></message>`);
    const { incoming } = readMessage(stanza, OWN);
    const nothing = { report: null, archived: null, write: null, progress: null };
    const onCommitted = () => void committed.push(body);
    inbox.put({ accountId, ownJid: OWN, incoming, ...nothing, onCommitted });
  };
  const untilRows = async (count: number) => {
    await db.until('select from xmpp_rx_queue having count(*) = $1', [count]);
    const rows = await db.rows<{ body: string }>(
      'select message_body as body from xmpp_rx_queue order by account_id, id',
    );
    return rows.map(({ body }) => body);
  };
  const dispose = async () => {
    await inbox.close();
    await db[Symbol.asyncDispose]();
  };
  return { db, put, committed, untilRows, [Symbol.asyncDispose]: dispose };
};

/** A trigger of somebody else's, with a fault that some messages bring to light. */
const TRIGGER = `
  create function count_characters() returns trigger language plpgsql as $$
  begin
    if new.message_body = 'bad' then raise exception 'there is no table of that'; end if;
    return new;
  end $$;
  create trigger count_characters before insert on xmpp_rx_queue
    for each row execute function count_characters()`;

test('what a trigger of others does not take waits, in its order, and no other account with it', async () => {
  await using box = await open();
  await box.db.rows(TRIGGER);
  for (const body of ['one', 'bad', 'two']) box.put(1, body);
  box.put(2, 'other');
  assert.deepEqual(await box.untilRows(2), ['one', 'other']);
  box.put(2, 'another');
  assert.deepEqual(await box.untilRows(3), ['one', 'other', 'another']);
  assert.ok(!box.committed.includes('bad') && !box.committed.includes('two'));
  await box.db.rows('drop function count_characters cascade');
  assert.deepEqual(await box.untilRows(5), ['one', 'bad', 'two', 'other', 'another']);
});

test('what no row can hold is dropped, and counts as dealt with', async () => {
  await using box = await open();
  await box.db.rows(`alter table xmpp_rx_queue add check (message_body <> 'bad')`);
  for (const body of ['one', 'bad', 'two']) box.put(1, body);
  assert.deepEqual(await box.untilRows(2), ['one', 'two']);
  assert.deepEqual(box.committed.toSorted(), ['bad', 'one', 'two']);
});
