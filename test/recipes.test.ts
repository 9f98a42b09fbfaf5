/** The README's recipes, run as they stand but for the domain, with other clients at the far end. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import type { SlixmppClient } from './peers/slixmpp.ts';
import { createScene, hasBody, PROSODY, type Scene, SLIXMPP_SKIP } from './support/scene.ts';

type Row = Record<string, unknown>;

const README = readFileSync(new URL('../README.md', import.meta.url), 'utf8');

/** The statements under a heading of the recipes. */
const readRecipe = (title: string, { domain, roomsDomain }: Scene['server']): string[] => {
  const section = README.split('\n### ').find((text) => text.startsWith(`${title}\n`)) ?? '';
  const blocks = [...section.matchAll(/```sql\n([\s\S]*?)```/g)].map(([, text = '']) => text);
  assert.ok(blocks.length > 0, `there is no recipe '${title}'`);
  return blocks
    .join('\n')
    .replaceAll('conference.example.com', roomsDomain)
    .replaceAll('example.com', domain)
    .split(/;[^\S\n]*\n/)
    .map((text) => text.trim())
    .filter((text) => text !== '');
};

describe('recipes', { skip: PROSODY.skip || SLIXMPP_SKIP }, () => {
  let scene: Scene;
  before(async () => {
    scene = await createScene(PROSODY);
    await scene.addAccount('bot', { is_default: true });
  });
  after(() => scene?.close());

  /** Runs a recipe. @returns what its last statement gives, now and whenever it is asked again */
  const run = async (title: string): Promise<() => Promise<Row[]>> => {
    const statements = readRecipe(title, scene.server);
    const last = statements.pop() ?? '';
    for (const statement of statements) await scene.db.rows(statement);
    return () => scene.db.rows<Row>(last);
  };
  const untilRows = async (ask: () => Promise<Row[]>, isTrue: (rows: Row[]) => boolean) => {
    const giveUpAt = Date.now() + 15_000;
    for (;;) {
      const rows = await ask();
      if (isTrue(rows)) return rows;
      if (Date.now() > giveUpAt) assert.fail(`it stays at ${JSON.stringify(rows)}`);
      await new Promise((done) => setTimeout(done, 50));
    }
  };
  const bot = () => `bot@${scene.server.domain}`;
  const bodyAt = async (far: SlixmppClient, body: string) =>
    (await far.waitFor(hasBody(body), 15_000)).element;

  test('alert with receipt', async () => {
    const oncall = await scene.addPeer('oncall');
    await oncall.do('receipts', { on: true });
    const ask = await run('Alert with receipt');
    const { attrs } = await bodyAt(oncall, 'disk 91 % full');
    await untilRows(ask, ([row]) => row?.state === 'delivered');
    await oncall.do('marker', { to: bot(), about: attrs.id, marker: 'displayed' });
    const [row] = await untilRows(ask, ([found]) => found?.state === 'displayed');
    assert.ok(row?.delivered_at && row.displayed_at);
  });

  test('room announcement', async () => {
    const room = `ops@${scene.server.roomsDomain}`;
    const member = await scene.addPeer('member');
    await member.do('join', { room, nick: 'member' });
    await (await run('Room announcement'))();
    const { attrs } = await bodyAt(member, 'Deploy at noon.');
    assert.equal(attrs.from, `${room}/robot`);
    await scene.db.until(
      "select from xmpp_tx_queue where message_to = $1 and state = 'submitted'",
      [room],
    );
  });

  test('two-way chat beside a customer row', async () => {
    const customer = await scene.addPeer('customer');
    const ask = await run('Two-way chat beside a customer row');
    await bodyAt(customer, 'How can we help, Carol?');
    await customer.do('message', { to: bot(), body: 'My parcel is late.' });
    const said = await untilRows(ask, (rows) => rows.length === 2);
    assert.deepEqual(said, [
      { who: 'we', said: 'How can we help, Carol?' },
      { who: 'Carol', said: 'My parcel is late.' },
    ]);
  });

  test('file to a user', async () => {
    const boss = await scene.addPeer('boss');
    await (await run('File to a user'))();
    const isFile = (stanza: { element: SlixmppClient['stanzas'][number]['element'] }) =>
      stanza.element.find('x', 'jabber:x:oob') !== null;
    const { element } = await boss.waitFor(isFile, 15_000);
    const url = element.find('x', 'jabber:x:oob')?.find('url')?.text ?? '';
    assert.match(url, /\/report\.csv$/);
    assert.equal(element.find('body')?.text, url);
    const text = await (await fetch(url)).text();
    assert.deepEqual(text.split('\n').slice(0, 3), ['1,1', '2,4', '3,9']);
  });

  test('presence board', async () => {
    const alice = await scene.addPeer('alice');
    await alice.do('roster_get');
    const ask = await run('Presence board');
    await alice.waitFor((stanza) => stanza.element.attrs.type === 'subscribe', 15_000);
    assert.partialDeepStrictEqual(await ask(), [{ name: 'Alice', presence: 'offline' }]);
    await alice.do('presence', { to: bot(), type: 'subscribed' });
    await alice.do('presence', { show: 'away', status: 'at lunch' });
    const board = await untilRows(ask, ([row]) => row?.presence === 'away');
    assert.deepEqual(board, [{ name: 'Alice', presence: 'away', status: 'at lunch' }]);
  });
});
