/** Pictures as they are published, asked for and chosen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  chooseAvatar,
  formatDataPublish,
  formatMetadataPublish,
  readDataAnswer,
  readMetadataAnswer,
} from '../../../src/accounts/profiles/stanzas.ts';
import { parseFragment } from '../../../src/xmpp/wire/fragment.ts';

const HASH = 'a'.repeat(40);

test('the picture that is in the node is chosen, none that is elsewhere or unnamed', () => {
  const choose = (infos: string) =>
    chooseAvatar(parseFragment(`<metadata xmlns='urn:xmpp:avatar:metadata'>${infos}</metadata>`));
  assert.deepEqual(choose(''), { info: null });
  assert.deepEqual(choose(`<info id='${HASH}' url='https://x.test/'/>`), { info: null });
  assert.deepEqual(choose("<info id='short'/>"), { info: null });
  const both = `<info id='${'b'.repeat(40)}' url='u'/><info id='${HASH}' bytes='7'/>`;
  assert.equal(choose(both)?.info?.hash, HASH);
  assert.equal(chooseAvatar(undefined), null);
});

test('what is published is what would be read', () => {
  const bytes = Buffer.from('png');
  const avatar = { hash: HASH, bytes, width: 2, height: 3 };
  const answer = (payload: string) =>
    parseFragment(
      `<iq xmlns='jabber:client'>${payload
        .replaceAll('publish>', 'items>')
        .replace('<publish ', '<items ')}</iq>`,
    );
  assert.deepEqual(readDataAnswer(answer(formatDataPublish(avatar)), HASH), bytes);
  assert.equal(readDataAnswer(answer(formatDataPublish(avatar)), 'b'.repeat(40)), null);
  assert.deepEqual(readMetadataAnswer(answer(formatMetadataPublish(avatar)))?.info, {
    hash: HASH,
    mediaType: 'image/png',
    sizeBytes: 3,
    width: 2,
    height: 3,
    url: null,
  });
  assert.deepEqual(readMetadataAnswer(answer(formatMetadataPublish(null))), { info: null });
});
