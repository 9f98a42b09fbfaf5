/** Requests of others get one answer each: by the daemon, by functions in the database, by rows, or a refusal. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { after, before, test } from 'node:test';
import type { RawClient } from '../peers/rawClient.ts';
import type { SlixmppClient } from '../peers/slixmpp.ts';
import type { Stanza } from '../peers/xmlReader.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { createScene, describeEach, insertInto, type Peer, type Scene } from '../support/scene.ts';

const STANZAS = 'urn:ietf:params:xml:ns:xmpp-stanzas';
const COMMANDS = 'http://jabber.org/protocol/commands';
const DISCO = 'http://jabber.org/protocol/disco#info';

const FUNCTIONS = `
  create function greet(account_id bigint, iq_from text, iq_type text, payload text) returns text
    language plpgsql security definer as $$
  begin
    case substring(payload from 'do="([^"]*)"')
      when 'nothing' then return null;
      when 'raise' then raise exception 'no <such> thing';
      when 'deny' then raise exception 'secret' using errcode = 'insufficient_privilege';
      when 'miss' then raise exception 'secret' using errcode = 'no_data_found';
      when 'break' then perform 1 / 0;
      when 'sleep' then perform pg_sleep(10);
      when 'wrong' then return '<a/><b/>';
      else return format('<hi xmlns="urn:greet" to="%s" type="%s" account="%s"/>', iq_from, iq_type, account_id);
    end case;
    return null;
  end $$;
  create function greet_all(account_id bigint, iq_from text, iq_type text, payload text) returns text
    language sql security definer as $$ select '<all xmlns="urn:greet"/>' $$;
  create function rightless(account_id bigint, iq_from text, iq_type text, payload text) returns text
    language sql as $$ select '<a xmlns="urn:b"/>' $$;
  create function order_coffee(account_id bigint, jid text, fields jsonb) returns jsonb
    language plpgsql security definer as $$
  begin
    if fields is null then
      return '{"title": "Coffee", "instructions": "Say <how>", "form": [
        {"var": "size", "type": "list-single", "label": "Size", "value": "small",
          "options": ["small", {"label": "Large", "value": "big"}], "required": true},
        {"var": "extras", "type": "list-multi", "options": ["milk", "sugar"]},
        {"var": "hot", "type": "boolean", "value": true}]}';
    elsif fields->>'size' = 'none' then
      raise exception 'that is no coffee';
    elsif fields->>'size' = 'note' then
      return '{"note": "Nothing left", "note_type": "warn"}';
    end if;
    return jsonb_build_object('title', 'Order', 'result', jsonb_build_array(
      jsonb_build_object('var', 'jid', 'value', jid),
      jsonb_build_object('var', 'fields', 'value', fields::text)));
  end $$;`;

const holdAnswers = (peer: Peer) => {
  let scene: Scene;
  let bot: number;
  let botJid: string;
  let client: RawClient;
  let slixmpp: SlixmppClient;
  let second: TestDaemon | null = null;
  before(async () => {
    scene = await createScene(peer);
    await scene.db.rows(FUNCTIONS);
    bot = await scene.addAccount('bot', { notify_nodes: ['urn:test:<news>'] });
    botJid = `bot@${scene.server.domain}/rowgram`;
    client = await scene.addClient('client', { resource: 'r' });
    slixmpp = await scene.addPeer('slix', { resource: 's' });
  });
  after(async () => {
    await second?.stop();
    await scene?.close();
  });

  let number = 0;
  const ask = (payload: string, type = 'get', from = client) => {
    number += 1;
    return from.iq(`<iq type='${type}' id='q${number}' to='${botJid}'>${payload}</iq>`);
  };
  const errorOf = ({ element }: Stanza) => {
    const error = element.find('error');
    const condition = error?.children.find(
      (child) => typeof child !== 'string' && child.ns === STANZAS && child.name !== 'text',
    );
    return {
      type: error?.attrs.type,
      condition: typeof condition === 'object' ? condition.name : null,
      text: error?.find('text', STANZAS)?.text ?? null,
    };
  };
  const handle = (columns: Record<string, unknown>) =>
    insertInto(scene.db, 'xmpp_iq_handlers', columns);
  /** The daemon has read the rows once a request is answered as they say. */
  const untilAnswered = async (payload: string, isRight: (answer: Stanza) => boolean) => {
    for (const giveUpAt = Date.now() + 5_000; ; ) {
      const answer = await ask(payload);
      if (isRight(answer)) return answer;
      assert.ok(Date.now() < giveUpAt, answer.xml);
    }
  };

  /** All rows so far have been read by the daemon. */
  const untilRead = async () => {
    number += 1;
    const namespace = `urn:read:${number}`;
    await handle({ namespace, function: 'greet' });
    await untilAnswered(`<a xmlns='${namespace}'/>`, ({ xml }) => xml.includes('<hi '));
  };

  test('slixmpp gets the version, the time, and a ping', async () => {
    const version = await slixmpp.do('version', { to: botJid });
    assert.deepEqual(version, { name: 'Rowgram', version: 'test', os: null });
    const time = (await slixmpp.do('time', { to: botJid })) as { utc: string };
    assert.ok(Math.abs(Date.parse(time.utc) - Date.now()) < 5_000);
    await slixmpp.do('ping', { to: botJid });
  });

  test('what nobody handles is refused once, and what is no request gets nothing', async () => {
    const none = errorOf(await ask("<query xmlns='urn:none'/>"));
    assert.deepEqual(none, { type: 'cancel', condition: 'service-unavailable', text: null });
    const set = errorOf(await ask("<ping xmlns='urn:xmpp:ping'/>", 'set'));
    assert.equal(set.condition, 'service-unavailable');
    client.send(`<iq type='result' id='stray' to='${botJid}'/>`);
    client.send(`<iq type='error' id='stray' to='${botJid}'><error type='cancel'/></iq>`);
    await ask("<ping xmlns='urn:xmpp:ping'/>");
    assert.deepEqual(
      client.stanzas.filter(({ element }) => element.attrs.id === 'stray'),
      [],
    );
    const ids = client.stanzas.flatMap(({ element }) =>
      element.attrs.id?.startsWith('q') ? element.attrs.id : [],
    );
    assert.equal(new Set(ids).size, ids.length);
  });

  test('presence carries the hash of what it can do, and follows notify_nodes', async () => {
    const watcher = await scene.addClient('bot', { resource: 'watcher' });
    const nextCaps = async () => {
      const { element } = await watcher.next(
        ({ element: { name, attrs, ...rest } }) =>
          name === 'presence' && attrs.from === botJid && rest.find('c') !== null,
      );
      return element.find('c', 'http://jabber.org/protocol/caps');
    };
    /** The hash of XEP-0115 §5.1, of one identity and no forms. */
    const verOf = (features: string[]) =>
      hash(
        'sha1',
        `client/bot//Rowgram<${features
          .toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
          .map((feature) => `${feature}<`)
          .join('')}`,
        'base64',
      );
    const caps = await nextCaps();
    const node = `${caps?.attrs.node}#${caps?.attrs.ver}`;
    type Info = { identities: unknown; features: string[] };
    const info = (await slixmpp.do('disco_info', { to: botJid, node })) as Info;
    const plain = (await slixmpp.do('disco_info', { to: botJid })) as Info;
    assert.deepEqual(info.features, plain.features);
    assert.deepEqual(info.identities, [
      { category: 'client', type: 'bot', lang: null, name: 'Rowgram' },
    ]);
    assert.equal(caps?.attrs.ver, verOf(info.features));
    for (const feature of [DISCO, COMMANDS, 'urn:xmpp:ping', 'urn:test:<news>+notify']) {
      assert.ok(info.features.includes(feature), feature);
    }
    const nodes = ['urn:test:other', 'bad\u0001'];
    await scene.db.rows('update xmpp_accounts set notify_nodes = $2 where id = $1', [bot, nodes]);
    const changed = await nextCaps();
    assert.notEqual(changed?.attrs.ver, caps?.attrs.ver);
    const { features } = (await slixmpp.do('disco_info', { to: botJid })) as Info;
    assert.ok(features.includes('urn:test:other+notify'));
    assert.ok(!features.includes('urn:test:<news>+notify'));
    assert.equal(changed?.attrs.ver, verOf(features));
    const gone = await ask(`<query xmlns='${DISCO}' node='${node}'/>`);
    assert.equal(errorOf(gone).condition, 'item-not-found');
  });

  test('a function answers, and what it raises is the error', async () => {
    const all = await handle({ namespace: 'urn:greet', function: 'greet_all' });
    await untilAnswered("<a xmlns='urn:greet'/>", ({ xml }) => xml.includes('<all '));
    await handle({ account_id: bot, namespace: 'urn:greet', function: 'greet', timeout_s: 1 });
    const answer = await untilAnswered("<a xmlns='urn:greet'/>", ({ xml }) => xml.includes('<hi '));
    const { attrs } = answer.element.find('hi') ?? {};
    assert.deepEqual(
      { to: attrs?.to, type: attrs?.type, account: attrs?.account },
      { to: client.jid, type: 'get', account: `${bot}` },
    );
    assert.match((await ask("<a xmlns='urn:greet'/>", 'set')).xml, /type=.set./);
    const empty = await ask("<a xmlns='urn:greet' do='nothing'/>");
    assert.equal(empty.element.attrs.type, 'result');
    assert.deepEqual(empty.element.children, []);
    const raised: [what: string, type: string, condition: string, text: string | null][] = [
      ['raise', 'modify', 'bad-request', 'no <such> thing'],
      ['deny', 'auth', 'forbidden', null],
      ['miss', 'cancel', 'item-not-found', null],
      ['break', 'cancel', 'internal-server-error', null],
      ['wrong', 'cancel', 'internal-server-error', null],
      ['sleep', 'cancel', 'internal-server-error', null],
    ];
    for (const [what, type, condition, text] of raised) {
      const error = errorOf(await ask(`<a xmlns='urn:greet' do='${what}'/>`));
      assert.deepEqual(error, { type, condition, text }, what);
    }
    await scene.db.rows('delete from xmpp_iq_handlers where id <> $1', [all]);
    await untilAnswered("<a xmlns='urn:greet'/>", ({ xml }) => xml.includes('<all '));
    await scene.db.rows('drop function greet_all');
    assert.equal(errorOf(await ask("<a xmlns='urn:greet'/>")).condition, 'internal-server-error');
    await scene.db.rows('delete from xmpp_iq_handlers');
    const isRefused = (stanza: Stanza) => errorOf(stanza).condition === 'service-unavailable';
    await untilAnswered("<a xmlns='urn:greet'/>", isRefused);
  });

  test('a function that is not there or does not fit is refused when it is named', async () => {
    const refused: [columns: Record<string, unknown>, reason: RegExp][] = [
      [{ namespace: 'a', function: 'nowhere' }, /there is no function nowhere\(bigint, text, text/],
      [{ namespace: 'a', function: 'rightless' }, /rightless\(.*\) is not SECURITY DEFINER/],
      [{ namespace: 'a', function: 'order_coffee' }, /there is no function order_coffee/],
      [{ namespace: 'a', function: 'now(); select pg_sleep' }, /./],
    ];
    for (const [columns, reason] of refused) await assert.rejects(handle(columns), reason);
    const command = { node: 'a', name: 'A', function: 'greet' };
    await assert.rejects(
      insertInto(scene.db, 'xmpp_commands', command),
      /there is no function greet\(bigint, text, jsonb\)/,
    );
  });

  test('a request that is a row is answered by an update, once', async () => {
    await handle({ namespace: 'urn:rows', timeout_s: 20 });
    await untilRead();
    type Request = { id: number; iq_from: string; payload: string; state: string };
    const request = (what: string) =>
      scene.db.until<Request>('select * from xmpp_iq_requests where payload like $1', [
        `%${what}%`,
      ]);
    const answer = async (what: string, set: string) => {
      const { id } = await request(what);
      await scene.db.rows(`update xmpp_iq_requests set ${set} where id = $1`, [id]);
    };
    const first = ask("<a xmlns='urn:rows' n='first'/>");
    await answer('first', 'response = \'<b xmlns="urn:rows"> &lt; </b>\'');
    assert.equal((await first).element.find('b', 'urn:rows')?.text, ' < ');
    const row = await request('first');
    assert.equal(row.iq_from, client.jid);
    assert.match(row.payload, /^<a [^<]*xmlns="urn:rows"[^<]*\/>$/);
    await scene.db.until("select from xmpp_iq_requests where id = $1 and state = 'answered'", [
      row.id,
    ]);
    await assert.rejects(answer('first', "response = ''"), /request \d+ is answered already/);
    const second = ask("<a xmlns='urn:rows' n='second'/>", 'set');
    await answer('second', "response = ''");
    assert.deepEqual((await second).element.children, []);
    const third = ask("<a xmlns='urn:rows' n='third'/>");
    await assert.rejects(answer('third', "error_condition = 'whatever'"), /error_condition_check/);
    await answer('third', "error_condition = 'not-allowed', error_text = 'not <you>'");
    assert.deepEqual(errorOf(await third), {
      type: 'cancel',
      condition: 'not-allowed',
      text: 'not <you>',
    });
    const fourth = ask("<a xmlns='urn:rows' n='fourth'/>");
    await answer('fourth', "response = '<a>'");
    assert.equal(errorOf(await fourth).condition, 'internal-server-error');
    const bad = await scene.db.until<{ state_info: string }>(
      "select * from xmpp_iq_requests where payload like '%fourth%' and state = 'failed'",
    );
    assert.match(bad.state_info, /bad-request: the XML is refused/);
  });

  test('without an answer in time it is refused, also by a daemon that was not there', async () => {
    await scene.db.rows("update xmpp_iq_handlers set timeout_s = 1 where namespace = 'urn:rows'");
    const isLate = (answer: Stanza) => errorOf(answer).condition === 'service-unavailable';
    await untilRead();
    assert.ok(isLate(await ask("<a xmlns='urn:rows' n='late'/>")));
    await scene.db.until("select from xmpp_iq_requests where state = 'expired'");
    const rows = await scene.db.rows('select from xmpp_iq_requests');
    const open = ask("<a xmlns='urn:rows' n='open'/>");
    await scene.db.until('select from xmpp_iq_requests having count(*) > $1', [rows.length]);
    await scene.daemon.stop();
    second = await startDaemon(scene.db.address);
    assert.ok(isLate(await open));
    await scene.db.until(
      "select from xmpp_iq_requests where state = 'pending' having count(*) = 0",
    );
  });

  test('a hundred wait at most, beyond them others come later', async () => {
    await scene.db.rows("update xmpp_iq_handlers set timeout_s = 30 where namespace = 'urn:rows'");
    await scene.db.until("select from xmpp_accounts where state = 'online'");
    await untilRead();
    for (let count = 0; count < 103; count += 1) {
      client.send(`<iq type='get' id='m${count}' to='${botJid}'><m xmlns='urn:rows'/></iq>`);
    }
    for (let count = 0; count < 3; count += 1) {
      const answer = await client.next(({ element }) => element.attrs.id?.startsWith('m') === true);
      assert.deepEqual(
        { ...errorOf(answer), text: null },
        { type: 'wait', condition: 'resource-constraint', text: null },
      );
    }
    await scene.db.rows("update xmpp_iq_requests set response = '' where state = 'pending'");
    for (let count = 0; count < 100; count += 1) {
      await client.next(({ element }) => element.attrs.type === 'result');
    }
    await scene.db.until(
      "select from xmpp_iq_requests where state = 'pending' having count(*) = 0",
    );
  });

  test('slixmpp lists a command, fills in its form and gets the result', async () => {
    const domain = scene.server.domain;
    await insertInto(scene.db, 'xmpp_commands', {
      node: 'coffee',
      name: 'Order & drink',
      function: 'order_coffee',
      allowed: [`slix@${domain.toUpperCase()}`, 'not a jid'],
    });
    type Items = { node: string; name: string; jid: string }[];
    const list = async () => (await slixmpp.do('command_list', { to: botJid })) as Items;
    for (const giveUpAt = Date.now() + 5_000; (await list()).length === 0; ) {
      assert.ok(Date.now() < giveUpAt);
    }
    assert.deepEqual(await list(), [{ jid: botJid, node: 'coffee', name: 'Order & drink' }]);
    const run = (args: Record<string, unknown>) =>
      slixmpp.do('command_run', { to: botJid, node: 'coffee', ...args }) as Promise<{
        status: string;
        session: string;
        notes: unknown[];
        form: { title: string; fields: { var: string; value: unknown; type: string }[] };
        xml: string;
      }>;
    const step = await run({});
    assert.equal(step.status, 'executing');
    assert.equal(step.form.title, 'Coffee');
    assert.deepEqual(
      step.form.fields.map(({ var: name, type }) => [name, type]),
      [
        ['size', 'list-single'],
        ['extras', 'list-multi'],
        ['hot', 'boolean'],
      ],
    );
    const { session } = step;
    await assert.rejects(run({ session, values: { size: '' } }), /not-acceptable: size/);
    await assert.rejects(
      run({ session, values: { size: 'none' } }),
      /bad-request: that is no coffee/,
    );
    const values = { size: 'big', extras: ['milk', 'sugar'], hot: '0', other: 'x' };
    const done = await run({ session, values });
    assert.equal(done.status, 'completed');
    const result = new Map(done.form.fields.map(({ var: name, value }) => [name, value]));
    assert.equal(result.get('jid'), slixmpp.jid);
    assert.deepEqual(JSON.parse(String(result.get('fields'))), {
      size: 'big',
      extras: ['milk', 'sugar'],
      hot: false,
    });
    await assert.rejects(run({ session, values }), /bad-request/);
    const noted = await run({ values: { size: 'note' } });
    assert.deepEqual(noted.notes, [{ type: 'warn', text: 'Nothing left' }]);
    const other = await run({});
    const cancelled = await run({ session: other.session, values: {}, action: 'cancel' });
    assert.equal(cancelled.status, 'canceled');
    await assert.rejects(run({ session: other.session, values }), /bad-request/);
    const info = await slixmpp.do('disco_info', { to: botJid, node: 'coffee' });
    assert.match(JSON.stringify(info), /command-node/);
  });

  test('a command is neither seen nor run by those whom it does not allow', async () => {
    const items = `<query xmlns='http://jabber.org/protocol/disco#items' node='${COMMANDS}'/>`;
    assert.equal((await ask(items)).element.find('query')?.children.length, 0);
    const execute = `<command xmlns='${COMMANDS}' node='coffee' action='execute'/>`;
    assert.deepEqual(
      { ...errorOf(await ask(execute, 'set')), text: null },
      { type: 'auth', condition: 'forbidden', text: null },
    );
    const node = `<query xmlns='${DISCO}' node='coffee'/>`;
    assert.equal(errorOf(await ask(node)).condition, 'item-not-found');
    const missing = `<command xmlns='${COMMANDS}' node='tea' action='execute'/>`;
    assert.equal(errorOf(await ask(missing, 'set')).condition, 'item-not-found');
    const step = await slixmpp.do('command_run', { to: botJid, node: 'coffee' });
    const { session } = step as { session: string };
    await scene.db.rows("update xmpp_commands set allowed = '{*}'");
    for (const giveUpAt = Date.now() + 5_000; ; ) {
      const seen = (await ask(items)).element.find('query')?.children.length;
      if (seen === 1) break;
      assert.ok(Date.now() < giveUpAt);
    }
    const stolen = `<command xmlns='${COMMANDS}' node='coffee' sessionid='${session}'/>`;
    assert.equal(errorOf(await ask(stolen, 'set')).condition, 'bad-request');
    await scene.db.rows('update xmpp_commands set allowed = null');
    const own = await scene.addClient('bot', { resource: 'own' });
    assert.equal((await ask(execute, 'set', own)).element.attrs.type, 'result');
  });
};

describeEach('answers', holdAnswers);
