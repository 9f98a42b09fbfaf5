/** Profiles through real servers: another implementation reads ours, and we read those of contacts. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import sharp from 'sharp';
import type { SlixmppClient } from '../peers/slixmpp.ts';
import { createScene, describeEachWithSlixmpp, type Peer, type Scene } from '../support/scene.ts';

const METADATA = 'urn:xmpp:avatar:metadata';
const DATA = 'urn:xmpp:avatar:data';

const draw = (background: string) =>
  sharp({ create: { width: 300, height: 200, channels: 3, background } })
    .png()
    .toBuffer();
const sha1 = (bytes: Buffer): string => createHash('sha1').update(bytes).digest('hex');

type Own = { state: string; state_info: string | null; avatar_hash: string | null; xmin: string };
type Contact = Own & {
  full_name: string | null;
  avatar: Buffer | null;
  avatar_type: string | null;
};

const holdProfiles = (peer: Peer) => {
  let scene: Scene;
  let bob: SlixmppClient;
  let account: number;
  before(async () => {
    scene = await createScene(peer);
    account = await scene.addAccount('alice');
    bob = await scene.addPeer('bob');
    // Each sees the other's presence and events.
    const alice = await scene.addClient('alice', { resource: 'second' });
    const domain = scene.server.domain;
    alice.send(`<presence to='bob@${domain}' type='subscribe'/>`);
    await bob.waitFor(({ element }) => element.attrs.type === 'subscribe');
    bob.send(`<presence to='alice@${domain}' type='subscribed'/>`);
    bob.send(`<presence to='alice@${domain}' type='subscribe'/>`);
    await alice.next(({ element }) => element.attrs.type === 'subscribe');
    alice.send(`<presence to='bob@${domain}' type='subscribed'/>`);
    await bob.waitFor(
      ({ element }) =>
        element.name === 'presence' && element.attrs.from === `${aliceJid()}/rowgram`,
    );
    await alice.close();
  });
  after(() => scene?.close());
  const aliceJid = () => `alice@${scene.server.domain}`;
  const bobJid = () => `bob@${scene.server.domain}`;
  const untilOwn = (state: string, hash: string | null = null) =>
    scene.db.until<Own>(
      `select *, xmin::text from xmpp_profiles where account_id = $1 and state = $2
      and avatar_hash is distinct from $3`,
      [account, state, hash],
    );
  const ownState = async () => {
    const [row] = await scene.db.rows<Own>('select * from xmpp_profiles');
    assert.ok(row);
    return row;
  };
  const untilContact = (jid: string, state: string, where = 'true') =>
    scene.db.until<Contact>(
      `select *, xmin::text from xmpp_contact_profiles
      where account_id = $1 and jid = $2 and state = $3 and (${where})`,
      [account, jid, state],
    );
  const insertContact = (jid: string) =>
    scene.db.rows('insert into xmpp_contact_profiles (account_id, jid) values ($1, $2)', [
      account,
      jid,
    ]);

  test('a profile by SQL is the vCard and the picture that others read, and its hash is in presence', async () => {
    await scene.db.rows(
      `insert into xmpp_profiles (account_id, full_name, nickname, avatar)
      values ($1, 'Alice & Co.', 'ali', $2)`,
      [account, await draw('red')],
    );
    const { avatar_hash: hash, state_info } = await untilOwn('published');
    assert.equal(state_info, null);
    const card = (await bob.do('vcard_get', { to: aliceJid() })) as {
      fullName: string;
      nickname: string;
      photo: { type: string; sha1: string };
    };
    assert.deepEqual([card.fullName, card.nickname], ['Alice & Co.', 'ali']);
    assert.deepEqual([card.photo.type, card.photo.sha1], ['image/png', hash]);
    const avatar = (await bob.do('avatar_get', { to: aliceJid() })) as {
      id: string;
      type: string;
      width: string;
      data: { sha1: string };
    };
    assert.deepEqual(
      [avatar.id, avatar.type, Number(avatar.width), avatar.data.sha1],
      [hash, 'image/png', 192, hash],
    );
    await bob.waitFor(
      ({ element }) =>
        element.name === 'presence' &&
        element.find('x', 'vcard-temp:x:update')?.find('photo')?.text === hash,
    );
  });

  test('what is unchanged is not published again, what is changed is, and fields that are NULL go', async () => {
    await scene.db.rows('update xmpp_profiles set nickname = nickname');
    const published = await untilOwn('published');
    const set = 'update xmpp_accounts set enabled = $2 where id = $1';
    await scene.db.rows(set, [account, false]);
    await scene.db.until("select from xmpp_accounts where id = $1 and state = 'off'", [account]);
    await scene.db.rows(set, [account, true]);
    await scene.db.until("select from xmpp_accounts where id = $1 and state = 'online'", [account]);
    await delay(500);
    // Nobody has written the row: it was not published again.
    const [same] = await scene.db.rows<Own>('select xmin::text, state from xmpp_profiles');
    assert.deepEqual(same, { state: 'published', xmin: published.xmin });
    await scene.db.rows('update xmpp_profiles set nickname = null, avatar = $1', [
      await draw('blue'),
    ]);
    const { avatar_hash: hash } = await untilOwn('published', published.avatar_hash);
    const card = (await bob.do('vcard_get', { to: aliceJid() })) as {
      nickname: string | null;
      photo: { sha1: string };
    };
    assert.deepEqual([card.nickname || null, card.photo.sha1], [null, hash]);
    await scene.db.rows('update xmpp_profiles set avatar = null');
    const { avatar_hash: none } = await untilOwn('published', hash);
    assert.equal(none, null);
    const gone = await bob.do('avatar_get', { to: aliceJid() }).catch(() => null);
    assert.equal(gone, null);
  });

  test('a picture that is a bomb, or none, is refused with a reason, and what was published stays', async () => {
    const options = { width: 8_000, height: 8_000, channels: 3, background: 'black' } as const;
    const bomb = await sharp({ create: options, limitInputPixels: false })
      .png({ compressionLevel: 9 })
      .toBuffer();
    await scene.db.rows("update xmpp_profiles set avatar = $1, full_name = 'Bomber'", [bomb]);
    await scene.db.until("select from xmpp_profiles where state_info like '%pixel%'");
    assert.equal((await ownState()).state, 'failed');
    const card = (await bob.do('vcard_get', { to: aliceJid() })) as { fullName: string };
    assert.equal(card.fullName, 'Alice & Co.');
    await scene.db.rows("update xmpp_profiles set avatar = 'no picture'");
    const { state_info } = await scene.db.until<Own>(
      "select * from xmpp_profiles where state = 'failed' and state_info like '%is no PNG%'",
    );
    assert.match(state_info ?? '', /no PNG, JPEG, WebP or GIF/);
  });

  const publish = async (node: string, id: string, payload: string) => {
    const answer = await bob.iq(
      `<iq type='set' id='p-${id}-${node.length}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>` +
        `<publish node='${node}'><item id='${id}'>${payload}</item></publish></pubsub></iq>`,
    );
    assert.match(answer, /type="result"/);
  };
  const publishPicture = async (bytes: Buffer) => {
    const hash = sha1(bytes);
    await publish(DATA, hash, `<data xmlns='${DATA}'>${bytes.toString('base64')}</data>`);
    const info = `<info id='${hash}' type='image/png' bytes='${bytes.length}'/>`;
    await publish(METADATA, hash, `<metadata xmlns='${METADATA}'>${info}</metadata>`);
    return hash;
  };
  const publishCard = async (content: string) => {
    const card = `<vCard xmlns='vcard-temp'>${content}</vCard>`;
    assert.match(await bob.iq(`<iq type='set' id='v${content.length}'>${card}</iq>`), /result/);
  };

  test('the profile of a contact is fetched, and again when asked for', async () => {
    const picture = await draw('green');
    await publishCard('<FN>Bob B.</FN><EMAIL><USERID>bob@mail.test</USERID></EMAIL>');
    const hash = await publishPicture(picture);
    await insertContact(bobJid());
    const row = await untilContact(bobJid(), 'fetched');
    assert.deepEqual(
      [row.full_name, row.avatar, row.avatar_type, row.avatar_hash, row.state_info],
      ['Bob B.', picture, 'image/png', hash, null],
    );
    await publishCard('<FN>Robert</FN>');
    await scene.db.rows("update xmpp_contact_profiles set state = 'pending' where jid = $1", [
      bobJid(),
    ]);
    await untilContact(bobJid(), 'fetched', "full_name = 'Robert'");
  });

  test('it is fetched again when the contact tells of another picture, by presence or event', async () => {
    const picture = await draw('yellow');
    const hash = await publishPicture(picture);
    const tellEvent = (id: string) =>
      bob.send(
        `<message to='${aliceJid()}/rowgram' type='headline'>` +
          `<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='${METADATA}'>` +
          `<item id='${id}'><metadata xmlns='${METADATA}'><info id='${id}' bytes='1'/></metadata>` +
          '</item></items></event></message>',
      );
    tellEvent(hash);
    const row = await untilContact(bobJid(), 'fetched', `avatar_hash = '${hash}'`);
    assert.deepEqual(row.avatar, picture);
    // Told again, or of one that is not there, it does not become a loop.
    tellEvent('b'.repeat(40));
    tellEvent('b'.repeat(40));
    const again = await untilContact(bobJid(), 'fetched', `xmin::text <> '${row.xmin}'`);
    tellEvent('b'.repeat(40));
    await delay(300);
    const [last] = await scene.db.rows<Own>(
      'select xmin::text from xmpp_contact_profiles where jid = $1',
      [bobJid()],
    );
    assert.equal(last?.xmin, again.xmin);
    // ejabberd puts the hash of the vCard in place of the one that a client tells.
    if (peer.name === 'ejabberd') return;
    const other = await publishPicture(await draw('orange'));
    bob.send(`<presence><x xmlns='vcard-temp:x:update'><photo>${other}</photo></x></presence>`);
    await untilContact(bobJid(), 'fetched', `avatar_hash = '${other}'`);
  });

  test('who is unknown, no JID, or has no picture of a known type is told in words', async () => {
    for (const jid of [`nobody@${scene.server.roomsDomain}`, 'a b@@c']) {
      await insertContact(jid);
      const row = await untilContact(jid, 'failed');
      assert.match(
        row.state_info ?? '',
        jid === 'a b@@c' ? /domainpart|localpart/ : /^[a-z-]+( \(|$)/,
      );
    }
    // Servers do not tell who is registered.
    const nobody = `nobody@${scene.server.domain}`;
    await insertContact(nobody);
    assert.equal((await untilContact(nobody, 'fetched')).state_info, 'there is no profile');
    const bytes = Buffer.from('no picture').toString('base64');
    const carol = await scene.addPeer('carol');
    await carol.iq(
      `<iq type='set' id='c'><vCard xmlns='vcard-temp'><FN>Carol</FN>` +
        `<PHOTO><TYPE>image/png</TYPE><BINVAL>${bytes}</BINVAL></PHOTO></vCard></iq>`,
    );
    await insertContact(`carol@${scene.server.domain}`);
    const row = await untilContact(`carol@${scene.server.domain}`, 'fetched');
    assert.deepEqual([row.full_name, row.avatar], ['Carol', null]);
    assert.match(row.state_info ?? '', /is no PNG/);
  });
};
describeEachWithSlixmpp('profiles', holdProfiles);
