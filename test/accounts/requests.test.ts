/** Rows of xmpp_iq_queue are asked of others, and get the answers; of nobody else. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { RawClient } from '../peers/rawClient.ts';
import type { Stanza } from '../peers/xmlReader.ts';
import { spawnDaemon, startDaemon } from '../support/daemon.ts';
import { createScene, describeEach, insertInto, type Peer, type Scene } from '../support/scene.ts';

const PING = "<ping xmlns='urn:xmpp:ping'/>";
const VERSION = "<query xmlns='jabber:iq:version'/>";

type IqRow = {
  state: string;
  account_id: number | null;
  response: string | null;
  error_type: string | null;
  error_condition: string | null;
  error_text: string | null;
  stanza_id: string | null;
  submission_info: string | null;
  submission_failed: boolean;
  delivered_at: Date | null;
};

const isAsked = ({ element: { name, attrs } }: Stanza): boolean =>
  name === 'iq' && attrs.id?.startsWith('iq.') === true;

const holdRequests = (peer: Peer) => {
  let scene: Scene;
  let account: number;
  let silent: RawClient;
  before(async () => {
    scene = await createScene(peer);
    account = await scene.addAccount('bot', { is_default: true });
    silent = await scene.addClient('silent', { resource: 'r' });
  });
  after(() => scene?.close());

  const ask = (columns: Record<string, unknown>) => insertInto(scene.db, 'xmpp_iq_queue', columns);
  const untilSettled = (id: number) =>
    scene.db.until<IqRow>('select * from xmpp_iq_queue where id = $1 and settled', [id]);
  const spoofedCount = async () => {
    const [row] = await scene.db.rows<{ count: number }>(
      'select spoofed_count as count from xmpp_accounts where id = $1',
      [account],
    );
    return row?.count;
  };
  const answerTo = ({ element }: Stanza) => `to='${element.attrs.from}' id='${element.attrs.id}'`;

  test('the server, a client and the account itself answer; the whole answer is in the row', async () => {
    const slixmpp = await scene.addPeer('slix');
    await scene.db.client.query('listen xmpp_iq_queue_results');
    let told = 0;
    const count = ({ channel }: { channel: string }) => {
      told += channel === 'xmpp_iq_queue_results' ? 1 : 0;
    };
    scene.db.client.on('notification', count);
    const disco = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    const rows = await Promise.all([
      ask({ iq_to: scene.server.domain, payload: disco }),
      ask({ account_id: account, iq_to: slixmpp.jid, payload: VERSION }),
      ask({ payload: "<query xmlns='jabber:iq:roster'/>" }),
      ask({ iq_to: ` BOT@${scene.server.domain} `, payload: "<query xmlns='jabber:iq:roster'/>" }),
      ask({ iq_to: `bot@${scene.server.domain}/rowgram`, payload: PING }),
    ]);
    const answers = await Promise.all(rows.map(untilSettled));
    for (const row of answers) {
      assert.equal(row.state, 'delivered', row.submission_info ?? '');
      assert.equal(row.account_id, account);
      assert.equal(row.submission_failed, false);
      assert.equal(row.submission_info, null);
      assert.ok(row.delivered_at instanceof Date);
      assert.match(row.response ?? '', /^<iq .*type="result"/);
      assert.ok(row.response?.includes(row.stanza_id ?? 'none'));
    }
    assert.match(answers[0]?.response ?? '', /category="server"/);
    assert.match(answers[1]?.response ?? '', /slixmpp peer/);
    assert.ok(told > 0);
    scene.db.client.off('notification', count);
    const [waited] = await scene.db.rows<{ state: string }>(
      "select rowgram_wait($1, '5 s', 'xmpp_iq_queue') as state",
      [rows[0]],
    );
    assert.equal(waited?.state, 'delivered');
    assert.equal(await spoofedCount(), 0);
  });

  test('an error is told in its parts, of whichever type it is', async () => {
    const nobody = `nobody@${scene.server.domain}/r`;
    const refused = await untilSettled(await ask({ iq_to: nobody, payload: VERSION }));
    assert.equal(refused.state, 'failed');
    assert.equal(refused.error_type, 'cancel');
    assert.equal(refused.error_condition, 'service-unavailable');
    assert.equal(refused.submission_failed, true);
    const id = await ask({ iq_to: silent.jid, payload: VERSION });
    const request = await silent.next(isAsked);
    silent.send(
      `<iq type='error' ${answerTo(request)}><error type='wait'>` +
        "<resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>" +
        "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>not now</text></error></iq>",
    );
    const row = await untilSettled(id);
    assert.equal(row.state, 'failed');
    assert.equal(row.error_type, 'wait');
    assert.equal(row.error_condition, 'resource-constraint');
    assert.equal(row.error_text, 'not now');
    assert.equal(row.submission_info, 'resource-constraint: not now');
    assert.equal(row.delivered_at, null);
  });

  test('a row that cannot be sent says why, and the next one goes out', async () => {
    const bad: [columns: Record<string, unknown>, reason: RegExp][] = [
      [{ payload: '<ping' }, /^bad-request: the XML is refused/],
      [{ payload: '' }, /^bad-request/],
      [{ payload: `${PING}${PING}` }, /^bad-request/],
      [{ payload: '<ping/>' }, /^bad-request: payload has no namespace of its own/],
      [{ payload: "<message xmlns='jabber:client'/>" }, /no namespace of its own/],
      [{ payload: PING, iq_to: 'a b@c' }, /^jid-malformed: iq_to is no JID/],
      [{ payload: `<a xmlns='b'>${'x'.repeat(250_000)}</a>` }, /^policy-violation/],
      [{ payload: PING, account_id: 9_999 }, /there is no account 9999/],
    ];
    const ids = await Promise.all(bad.map(([columns]) => ask(columns)));
    for (const [at, [, reason]] of bad.entries()) {
      const row = await untilSettled(ids[at] ?? 0);
      assert.equal(row.state, 'failed');
      assert.match(row.submission_info ?? '', reason);
    }
    const good = await untilSettled(await ask({ iq_to: scene.server.domain, payload: PING }));
    assert.equal(good.state, 'delivered');
  });

  test('who does not answer in time has failed; queued again, it is asked again and has no answer yet', async () => {
    const id = await ask({ iq_to: silent.jid, payload: PING, timeout_s: 1 });
    const first = await silent.next(isAsked);
    const row = await untilSettled(id);
    assert.equal(row.state, 'failed');
    assert.equal(row.submission_info, 'no answer within 1 s');
    assert.equal(row.stanza_id, first.element.attrs.id);
    await scene.db.rows("update xmpp_iq_queue set state = 'queued' where id = $1", [id]);
    const second = await silent.next(isAsked);
    assert.equal(second.element.attrs.id, first.element.attrs.id);
    silent.send(`<iq type='result' ${answerTo(second)}/>`);
    assert.equal((await untilSettled(id)).state, 'delivered');
  });

  test('an answer counts only when it comes from whom was asked', async () => {
    const third = await scene.addClient('third', { resource: 'r' });
    const before = (await spoofedCount()) ?? 0;
    const id = await ask({ iq_to: silent.jid, payload: VERSION });
    const request = await silent.next(isAsked);
    third.send(`<iq type='result' ${answerTo(request)}><query xmlns='a'>lie</query></iq>`);
    await scene.db.until('select from xmpp_accounts where id = $1 and spoofed_count = $2', [
      account,
      before + 1,
    ]);
    silent.send(`<iq type='result' ${answerTo(request)}><query xmlns='a'>truth</query></iq>`);
    const row = await untilSettled(id);
    assert.match(row.response ?? '', /truth/);
    // One more is no news.
    silent.send(`<iq type='error' ${answerTo(request)}><error type='cancel'/></iq>`);
    // An id that is not ours is none of ours.
    third.send(`<iq type='result' to='${request.element.attrs.from}' id='iq.1.1.abcdefghijkl'/>`);
    await untilSettled(await ask({ iq_to: scene.server.domain, payload: PING }));
    assert.match((await untilSettled(id)).response ?? '', /truth/);
    assert.equal(await spoofedCount(), before + 1);
  });

  test('50 wait for their answers at once, the others in the table, and none is lost', async () => {
    const ids = await Promise.all(
      Array.from({ length: 60 }, () => ask({ iq_to: silent.jid, payload: PING })),
    );
    const asked: Stanza[] = [];
    for (let count = 0; count < 50; count += 1) asked.push(await silent.next(isAsked));
    await assert.rejects(silent.next(isAsked, 300));
    for (const request of asked) silent.send(`<iq type='result' ${answerTo(request)}/>`);
    for (let count = 0; count < 10; count += 1) {
      silent.send(`<iq type='result' ${answerTo(await silent.next(isAsked))}/>`);
    }
    for (const id of ids) assert.equal((await untilSettled(id)).state, 'delivered');
  });

  test('cancelled in time it is not sent; while its account is off it waits and says so', async () => {
    await scene.db.rows('update xmpp_accounts set enabled = false where id = $1', [account]);
    await scene.db.until("select from xmpp_accounts where id = $1 and state = 'off'", [account]);
    const [kept, cancelled] = await Promise.all([
      ask({ account_id: account, iq_to: scene.server.domain, payload: PING }),
      ask({ account_id: account, iq_to: silent.jid, payload: PING }),
    ]);
    await scene.db.until('select from xmpp_iq_queue where id = $1 and submission_info = $2', [
      kept,
      `account bot@${scene.server.domain} is disabled`,
    ]);
    await scene.db.rows("update xmpp_iq_queue set state = 'cancelled' where id = $1", [cancelled]);
    await scene.db.rows('update xmpp_accounts set enabled = true where id = $1', [account]);
    assert.equal((await untilSettled(kept)).state, 'delivered');
    assert.equal((await untilSettled(cancelled)).state, 'cancelled');
    await assert.rejects(silent.next(isAsked, 200));
  });

  test('what a daemon asked is answered though it was killed, on the stream that another one resumes', async () => {
    await scene.daemon.stop();
    const first = spawnDaemon(scene.db.address);
    const id = await ask({ account_id: account, iq_to: silent.jid, payload: VERSION });
    const request = await silent.next(isAsked, 15_000);
    first.kill('SIGKILL');
    await first.ended;
    // It waits at the server for whoever goes on with the stream.
    silent.send(`<iq type='result' ${answerTo(request)}><query xmlns='a'>kept</query></iq>`);
    await using second = spawnDaemon(scene.db.address);
    const row = await scene.db.until<IqRow>(
      'select * from xmpp_iq_queue where id = $1 and settled',
      [id],
      30_000,
    );
    assert.match(row.response ?? '', /kept/);
    assert.equal(row.stanza_id, request.element.attrs.id);
    assert.match(second.output(), /"resumed":true/);
    second.kill('SIGTERM');
    await second.ended;
  });

  test('what one daemon asked and was not answered is asked again by the next one', async () => {
    const first = await startDaemon(scene.db.address);
    const id = await ask({ account_id: account, iq_to: silent.jid, payload: VERSION });
    // The killed one's request may have been sent a second time.
    const isOf = (stanza: Stanza) =>
      isAsked(stanza) && stanza.xml.includes(`'iq.${id.toString(36)}.`);
    const request = await silent.next(isOf, 15_000);
    await first.stop();
    await using _second = await startDaemon(scene.db.address);
    const again = await silent.next(isOf, 15_000);
    assert.equal(again.element.attrs.id, request.element.attrs.id);
    silent.send(`<iq type='result' ${answerTo(again)}/>`);
    assert.equal((await untilSettled(id)).state, 'delivered');
  });
};

describeEach('requests', holdRequests);
