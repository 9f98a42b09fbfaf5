/** Where a file may go, who takes it, and what an answer means for its row. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  chooseService,
  decideRetry,
  isAllowedUrl,
  needsCertificate,
  requireAttachmentSize,
  requireTaken,
  type Trust,
} from '../../../src/accounts/uploads/verdicts.ts';
import { RejectError, RetryError } from '../../../src/errors.ts';

const trust = (change: Partial<Trust> = {}): Trust => ({
  tls: 'auto',
  ca: null,
  serverHost: 'example.test',
  ...change,
});

test('the first service that takes the size is chosen', () => {
  const small = { jid: 'small', maxSizeBytes: 10 };
  const large = { jid: 'large', maxSizeBytes: 20 };
  const silent = { jid: 'silent', maxSizeBytes: null };
  assert.equal(chooseService([small, large], 10), small);
  assert.equal(chooseService([small, large], 11), large);
  assert.equal(chooseService([small, silent, large], 11), silent);
  assert.throws(
    () => chooseService([small, large], 21),
    /is 21 bytes, the upload service takes 20/,
  );
  assert.throws(() => chooseService([], 1), /has no upload service/);
});

test('an attachment of the size allowed passes, one byte more does not', () => {
  requireAttachmentSize(10, 10);
  assert.throws(() => requireAttachmentSize(11, 10), /max_attachment_bytes/);
});

test('a file goes over https, or where nobody listens in, and never to another service of ours', () => {
  const local = trust({ serverHost: '127.0.0.1' });
  const cases: [url: string, terms: Trust, isAllowed: boolean][] = [
    ['https://files.test/a', trust(), true],
    ['http://files.test/a', trust(), false],
    ['http://files.test/a', trust({ tls: 'starttls' }), false],
    ['http://files.test/a', trust({ tls: 'none' }), true],
    ['http://127.0.0.1:80/a', local, true],
    ['http://localhost/a', trust({ serverHost: 'localhost' }), true],
    ['http://files.test/a', local, false],
    ['ftp://127.0.0.1/a', local, false],
    ['file:///etc/passwd', local, false],
    ['http://127.0.0.1/a', trust(), false],
    ['https://127.0.0.1/a', trust(), false],
    ['https://127.1/a', trust(), false],
    ['https://2130706433/a', trust(), false],
    ['https://0/a', trust(), false],
    ['https://[::1]/a', trust({ tls: 'none' }), false],
    ['https://[::ffff:127.0.0.1]/a', trust(), false],
    ['http://upload.localhost/a', trust({ tls: 'none' }), false],
    ['https://127.example.test/a', trust(), true],
    ['https://notlocalhost/a', trust(), true],
  ];
  for (const [url, terms, isAllowed] of cases) {
    assert.equal(isAllowedUrl(new URL(url), terms), isAllowed, `${url} ${terms.serverHost}`);
  }
});

test('only a private server without a CA may have a certificate of its own making', () => {
  const url = new URL('https://127.0.0.1/');
  const local = { serverHost: 'localhost' };
  assert.equal(needsCertificate(url, trust(local)), false);
  assert.equal(needsCertificate(url, trust({ ...local, ca: 'PEM' })), true);
  assert.equal(needsCertificate(url, trust({ ...local, tls: 'starttls' })), true);
  assert.equal(needsCertificate(new URL('https://files.test/'), trust(local)), true);
});

test('what the service answers decides whether it is tried again', () => {
  for (const status of [200, 201, 204]) requireTaken({ status });
  for (const status of [301, 307, 400, 403, 404, 413]) {
    assert.throws(() => requireTaken({ status }), RejectError, `${status}`);
  }
  for (const status of [408, 429, 500, 503]) {
    assert.throws(() => requireTaken({ status }), RetryError, `${status}`);
  }
  assert.throws(() => requireTaken({ status: null, reason: 'reset' }), RetryError);
});

test('it is tried again five times, later and later, unless it is refused', () => {
  const error = new RetryError('HTTP 503', 0);
  const delays = [0, 1, 2, 3, 4].map((retries) => {
    const verdict = decideRetry(error, retries);
    return verdict instanceof RetryError ? verdict.afterMs : null;
  });
  assert.deepEqual(delays, [2_000, 8_000, 32_000, 128_000, 512_000]);
  const last = decideRetry(error, 5);
  assert.ok(last instanceof RejectError && /HTTP 503.*given up/.test(last.message));
  const refusal = new RejectError('no', 'not-allowed');
  assert.equal(decideRetry(refusal, 0), refusal);
});
