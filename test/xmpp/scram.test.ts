import assert from 'node:assert/strict';
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { ConfigError, ProtocolError } from '../../src/errors.ts';
import { createMechanisms, type Verifiable } from '../../src/xmpp/scram.ts';
import { createKeyCache, type KeyCache } from '../../src/xmpp/scramKeys.ts';

type Vector = {
  name: string;
  nonce: string;
  clientFirst: string;
  serverFirst: string;
  clientFinal: string;
  serverFinal: string;
};

/** RFC 5802 §5 and RFC 7677 §3, for the user "user" with the password "pencil". */
const vectors: Vector[] = [
  {
    name: 'SCRAM-SHA-1',
    nonce: 'fyko+d2lbbFgONRv9qkxdawL',
    clientFirst: 'n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL',
    serverFirst: 'r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096',
    clientFinal:
      'c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
    serverFinal: 'v=rmF9pqV8S7suAoZWja4dJRkFsKQ=',
  },
  {
    name: 'SCRAM-SHA-256',
    nonce: 'rOprNGfwEbeRWgbNEkqO',
    clientFirst: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
    serverFirst:
      'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
    clientFinal:
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,' +
      'p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
  },
];

const base64 = (text: string): string => Buffer.from(text).toString('base64');
const binary = (text: string): string => Buffer.from(text).toString('latin1');

type Given = { name: string; nonce: string; keys?: KeyCache };

/** Makes a mechanism as the engine does. */
const create = ({ name, nonce, keys = createKeyCache() }: Given): Verifiable => {
  const { mechs, current } = createMechanisms({ plain: true }, { keys, makeNonce: () => nonce });
  const entry = mechs.find((mech) => mech.name === name);
  assert.ok(entry);
  const made = new entry.mech();
  const mechanism = current();
  assert.ok(mechanism);
  assert.equal(mechanism, made);
  return mechanism;
};

const credentials = { username: 'user', password: 'pencil' };

/** Goes as far as the client's last message. */
const logIn = async (given: Given, serverFirst: string, who = credentials) => {
  const mechanism = create(given);
  await mechanism.response(who);
  await mechanism.challenge(binary(serverFirst));
  return { mechanism, clientFinal: await mechanism.response(who) };
};

for (const vector of vectors) {
  test(`the example of the RFC is reproduced: ${vector.name}`, async () => {
    const mechanism = create(vector);
    assert.equal(await mechanism.response(credentials), vector.clientFirst);
    await mechanism.challenge(vector.serverFirst);
    assert.equal(await mechanism.response(credentials), vector.clientFinal);
    mechanism.verify(base64(vector.serverFinal));
  });

  test(`a signature that comes as a challenge serves as well: ${vector.name}`, async () => {
    for (const success of ['', '=']) {
      const { mechanism } = await logIn(vector, vector.serverFirst);
      await mechanism.challenge(vector.serverFinal);
      assert.equal(await mechanism.response(credentials), '');
      mechanism.verify(success);
    }
  });
}

/** What a server of any hash answers to a client that knows the password, from RFC 5802 §3. */
const serverFinal = (
  hash: string,
  password: string,
  messages: string[],
  salt: Buffer,
  i: number,
) => {
  const bytes = createHash(hash).digest().length;
  const salted = pbkdf2Sync(password, salt, i, bytes, hash);
  const hmac = (key: Buffer, text: string) => createHmac(hash, key).update(text).digest();
  const message = messages.join(',');
  const clientKey = hmac(salted, 'Client Key');
  const signature = hmac(createHash(hash).update(clientKey).digest(), message);
  const proof = Buffer.from(clientKey.map((byte, at) => byte ^ (signature[at] ?? 0)));
  const verifier = hmac(hmac(salted, 'Server Key'), message).toString('base64');
  return { proof: proof.toString('base64'), final: `v=${verifier}` };
};

test('SHA-512, with a name and password that SASLprep changes, as UTF-8', async () => {
  const salt = Buffer.from('соль');
  const first = `r=abcЖ,s=${salt.toString('base64')},i=7`.replace('Ж', 'x');
  const who = { username: 'юзер=a,b', password: 'па\u00ADро\u00A0ль\u2168' };
  const mechanism = create({ name: 'SCRAM-SHA-512', nonce: 'abc' });
  const clientFirst = await mechanism.response(who);
  assert.equal(clientFirst, binary('n,,n=юзер=3Da=2Cb,r=abc'));
  await mechanism.challenge(first);
  const bare = ['n=юзер=3Da=2Cb,r=abc', first, 'c=biws,r=abcx'];
  const expected = serverFinal('sha512', 'паро льIX', bare, salt, 7);
  assert.equal(await mechanism.response(who), `c=biws,r=abcx,p=${expected.proof}`);
  mechanism.verify(base64(expected.final));
});

const [sha1] = vectors;
assert.ok(sha1);

test('a server that does not know the password is found out (RFC 5802 §5)', async () => {
  const zeros = Buffer.alloc(20).toString('base64');
  for (const text of [`v=${zeros}`, 'v=AAAA', 'v=', 'v=!', 'x=y', '', 'e=other-error']) {
    const { mechanism } = await logIn(sha1, sha1.serverFirst);
    assert.throws(() => mechanism.verify(base64(text)), ProtocolError, text);
  }
});

test('success before the exchange is over proves nothing', async () => {
  const mechanism = create(sha1);
  assert.throws(() => mechanism.verify(''), ProtocolError);
  await mechanism.response(credentials);
  assert.throws(() => mechanism.verify(base64(sha1.serverFinal)), ProtocolError);
});

test('a nonce that does not extend ours is refused (RFC 5802 §5.1)', async () => {
  for (const nonce of [sha1.nonce, `x${sha1.nonce}`, sha1.nonce.slice(1), `${sha1.nonce}й`, '']) {
    const challenge = `r=${nonce},s=QSXCR+Q6sek8bf92,i=4096`;
    await assert.rejects(logIn(sha1, challenge), { name: 'ProtocolError', message: /nonce/ });
  }
});

test('iteration counts from 1 to 10,000,000 are served', async () => {
  const begin = `r=${sha1.nonce}x,s=QSXCR+Q6sek8bf92,i=`;
  for (const count of [
    '0',
    '-1',
    '10000001',
    '99999999999',
    '1e3',
    '0x10',
    '01',
    ' 1',
    '',
    'NaN',
  ]) {
    await assert.rejects(logIn(sha1, begin + count), { name: 'ProtocolError' }, count);
  }
  assert.match((await logIn(sha1, `${begin}1`)).clientFinal, /^c=biws,r=.*,p=/);
});

test('a mandatory extension is refused, an optional one skipped (RFC 5802 §5.1)', async () => {
  const message = `r=${sha1.nonce}x,s=QSXCR+Q6sek8bf92,i=1`;
  await assert.rejects(logIn(sha1, `m=x,${message}`), { name: 'ProtocolError' });
  assert.match((await logIn(sha1, `${message},x=y`)).clientFinal, /^c=biws/);
});

test('whatever the challenge, there is an answer or a ProtocolError', async () => {
  const attribute = fc.tuple(
    fc.constantFrom('r=', 's=', 'i=', 'm=', 'e=', 'v=', ''),
    fc.oneof(fc.string({ unit: 'binary' }), fc.base64String(), fc.constant('n'), fc.nat(999)),
  );
  const challenge = fc
    .array(attribute)
    .map((parts) => parts.map((part) => part.join('')).join(','));
  const likely = fc
    .tuple(fc.string(), fc.base64String(), fc.oneof(fc.integer({ max: 999 }), fc.string()))
    .map(([nonce, salt, count]) => `r=n${nonce},s=${salt},i=${count}`);
  await fc.assert(
    fc.asyncProperty(fc.oneof(challenge, likely), async (text) => {
      try {
        const { clientFinal } = await logIn({ name: 'SCRAM-SHA-256', nonce: 'n' }, text);
        assert.match(clientFinal, /^c=biws,r=n/);
      } catch (error) {
        assert.ok(error instanceof ProtocolError, String(error));
      }
    }),
  );
});

test('keys from memory give the same proof, for the same password alone', async () => {
  const keys = createKeyCache();
  const given = { ...sha1, keys };
  const first = await logIn(given, sha1.serverFirst);
  assert.equal(keys.size, 1);
  const second = await logIn(given, sha1.serverFirst);
  assert.equal(keys.size, 1);
  assert.equal(second.clientFinal, first.clientFinal);
  second.mechanism.verify(base64(sha1.serverFinal));
  const other = await logIn(given, sha1.serverFirst, { ...credentials, password: 'pen' });
  assert.equal(keys.size, 2);
  assert.notEqual(other.clientFinal, first.clientFinal);
});

test('the memory for keys is bounded, and the oldest go first', async () => {
  const keys = createKeyCache(2);
  const given = { ...sha1, keys };
  const challenge = (count: number) => `r=${sha1.nonce}x,s=QSXCR+Q6sek8bf92,i=${count}`;
  for (const count of [1, 2, 3, 1]) await logIn(given, challenge(count));
  assert.equal(keys.size, 2);
});

test('nonces are fresh, and free of commas', async () => {
  const { mechs } = createMechanisms({ plain: false });
  const seen = new Set<string>();
  for (let i = 0; i < 100; i += 1) {
    const mechanism = mechs[0] && new mechs[0].mech();
    const first = await mechanism?.response(credentials);
    assert.match(first ?? '', /^n,,n=user,r=[^,]{32}$/);
    seen.add(first ?? '');
  }
  assert.equal(seen.size, 100);
});

test('PLAIN comes last, and only when it is allowed', () => {
  const names = (plain: boolean) => createMechanisms({ plain }).mechs.map(({ name }) => name);
  const scrams = ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'SCRAM-SHA-1'];
  assert.deepEqual(names(false), scrams);
  assert.deepEqual(names(true), [...scrams, 'PLAIN']);
});

test('PLAIN sends name and password as UTF-8 (RFC 4616 §2)', async () => {
  const plain = create({ name: 'PLAIN', nonce: '' });
  assert.equal(plain.clientFirst, true);
  assert.equal(await plain.response({ username: 'ю', password: 'п,=' }), binary('\0ю\0п,='));
  plain.verify('');
  assert.throws(() => plain.challenge(''), ProtocolError);
  assert.throws(() => plain.response({ username: 'a\0', password: 'b' }), ConfigError);
});

test('no mechanism is in use before the engine has made one', () => {
  const { current } = createMechanisms({ plain: true });
  assert.equal(current(), null);
});
