/** Three versions of a roster become one, and nothing that a person wants is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type CommonItem,
  type Contact,
  isSameEntry,
  isSubscribed,
  type Merged,
  mergeItem,
  mergeRoster,
  normalizeEntry,
  type ServerItem,
} from '../../../src/accounts/contacts/mergeRoster.ts';

const JID = 'a@b';

const contactOf = (name: string, more: Partial<Contact> = {}): Contact => ({
  id: 1,
  jid: JID,
  name,
  groups: [],
  subscribe: true,
  allow: null,
  isPending: false,
  subscription: 'both',
  ask: null,
  isRefused: false,
  ...more,
});
const commonOf = (name: string): CommonItem => ({ jid: JID, name, groups: [] });
const itemOf = (name: string, more: Partial<ServerItem> = {}): ServerItem => ({
  jid: JID,
  name,
  groups: [],
  subscription: 'both',
  ask: null,
  approved: false,
  ...more,
});

type Case = {
  what: string;
  contact: string | null;
  common: string | null;
  server: string | null;
  isPending?: true;
  /** The contact's name after it; null for none. */
  becomes: string | null;
  todo: Merged['todo'];
};

const CASES: Case[] = [
  {
    what: 'inserted by a person',
    contact: 'A',
    common: null,
    server: null,
    becomes: 'A',
    todo: 'set',
  },
  {
    what: 'deleted by a person',
    contact: null,
    common: 'A',
    server: 'A',
    becomes: null,
    todo: 'remove',
  },
  {
    what: 'renamed by a person',
    contact: 'B',
    common: 'A',
    server: 'A',
    becomes: 'B',
    todo: 'set',
  },
  {
    what: 'renamed at the server',
    contact: 'A',
    common: 'A',
    server: 'B',
    becomes: 'B',
    todo: null,
  },
  { what: 'renamed by both', contact: 'B', common: 'A', server: 'C', becomes: 'B', todo: 'set' },
  {
    what: 'renamed by both to the same',
    contact: 'B',
    common: 'A',
    server: 'B',
    becomes: 'B',
    todo: null,
  },
  { what: 'unchanged', contact: 'A', common: 'A', server: 'A', becomes: 'A', todo: null },
  { what: 'inserted by both', contact: 'A', common: null, server: 'B', becomes: 'A', todo: 'set' },
  {
    what: 'inserted by both alike',
    contact: 'A',
    common: null,
    server: 'A',
    becomes: 'A',
    todo: null,
  },
  {
    what: 'deleted at the server',
    contact: 'A',
    common: 'A',
    server: null,
    becomes: null,
    todo: null,
  },
  {
    what: 'deleted at the server, renamed by a person',
    contact: 'B',
    common: 'A',
    server: null,
    becomes: 'B',
    todo: 'set',
  },
  {
    what: 'deleted at the server, otherwise changed by a person',
    contact: 'A',
    common: 'A',
    server: null,
    isPending: true,
    becomes: 'A',
    todo: 'set',
  },
  {
    what: 'deleted by a person, renamed at the server',
    contact: null,
    common: 'A',
    server: 'B',
    becomes: null,
    todo: 'remove',
  },
  { what: 'deleted by both', contact: null, common: 'A', server: null, becomes: null, todo: null },
  {
    what: 'inserted at the server',
    contact: null,
    common: null,
    server: 'A',
    becomes: 'A',
    todo: null,
  },
];

for (const { what, contact, common, server, isPending, becomes, todo } of CASES) {
  test(`a contact ${what}`, () => {
    const merged = mergeItem(
      JID,
      contact === null ? null : contactOf(contact, { isPending: isPending ?? false }),
      common === null ? null : commonOf(common),
      server === null ? null : itemOf(server),
    );
    assert.equal(merged.contact?.name ?? null, becomes);
    assert.equal(merged.todo, todo);
  });
}

test('what only the server has asks for nothing anew', () => {
  const subscribe = (subscription: ServerItem['subscription'], ask: ServerItem['ask'] = null) =>
    mergeItem(JID, null, null, itemOf('A', { subscription, ask })).contact?.subscribe;
  assert.equal(subscribe('none'), false);
  assert.equal(subscribe('from'), false);
  assert.equal(subscribe('to'), true);
  assert.equal(subscribe('both'), true);
  assert.equal(subscribe('none', 'subscribe'), true);
});

test('what becomes of a subscription is taken over, unless a person has just decided', () => {
  const merge = (contact: Partial<Contact>, item: Partial<ServerItem>) => {
    const merged = mergeItem(JID, contactOf('A', contact), commonOf('A'), itemOf('A', item));
    const { subscribe, isRefused, subscription, ask } = merged.contact ?? contactOf('none');
    return { subscribe, isRefused, subscription, ask };
  };
  const none = { subscription: 'none', ask: null } as const;
  const asked = { subscription: 'none', ask: 'subscribe' } as const;
  assert.deepEqual(merge(asked, none), { ...none, subscribe: true, isRefused: true });
  assert.deepEqual(merge({}, none), { ...none, subscribe: true, isRefused: true });
  assert.deepEqual(merge({ ...asked, isPending: true }, none).isRefused, false);
  assert.deepEqual(merge({ subscribe: false }, none).isRefused, false);
  assert.deepEqual(merge({ ...none, isRefused: true }, none).isRefused, true);
  assert.deepEqual(merge({ ...none, isRefused: true }, {}).isRefused, false);
  assert.deepEqual(merge({ ...none, subscribe: false }, asked).subscribe, true);
  assert.deepEqual(merge({ ...none, subscribe: false, isPending: true }, asked).subscribe, false);
});

test('groups are a set, and an empty name is none', () => {
  const entry = { name: 'A', groups: ['x', 'y'] };
  assert.ok(isSameEntry(entry, { name: 'A', groups: ['y', 'x', 'y', ''] }));
  assert.ok(!isSameEntry(entry, { name: 'A', groups: ['x'] }));
  assert.ok(!isSameEntry(entry, { name: 'B', groups: ['x', 'y'] }));
  assert.ok(isSameEntry({ name: '', groups: [] }, { name: null, groups: [] }));
});

const jid = fc.constantFrom('a@b', 'b@b', 'c@b', 'd@b');
const entry = fc.record({
  name: fc.constantFrom(null, 'A', 'B', 'C'),
  groups: fc.subarray(['x', 'y']),
});
const bond = fc.record({
  subscription: fc.constantFrom('none', 'to', 'from', 'both'),
  ask: fc.constantFrom(null, 'subscribe'),
});
const byJid = <T extends object>(value: fc.Arbitrary<T>): fc.Arbitrary<(T & { jid: string })[]> =>
  fc
    .uniqueArray(fc.tuple(jid, value), { selector: ([key]) => key })
    .map((list) => list.map(([key, each]) => ({ ...each, jid: key })));
const merged = <A extends object, B extends object>(a: fc.Arbitrary<A>, b: fc.Arbitrary<B>) =>
  fc.tuple(a, b).map(([one, other]) => ({ ...one, ...other }));
const contacts = byJid(
  merged(
    merged(entry, bond),
    fc.record({
      id: fc.nat(),
      subscribe: fc.boolean(),
      allow: fc.constantFrom(true, false, null),
      isPending: fc.boolean(),
      isRefused: fc.boolean(),
    }),
  ),
) as fc.Arbitrary<Contact[]>;
const common = byJid(entry) as fc.Arbitrary<CommonItem[]>;
const server = byJid(
  merged(merged(entry, bond), fc.record({ approved: fc.boolean() })),
) as fc.Arbitrary<ServerItem[]>;

/** The versions once all that is to be done is done. */
const carryOut = (list: Merged[]) => {
  const wanted = list.flatMap(({ jid: key, contact }) =>
    contact ? [{ ...contact, id: contact.id ?? 0, jid: key, isPending: false }] : [],
  );
  const present = list.flatMap(({ jid: key, contact, item, todo }): ServerItem[] => {
    if (todo === 'remove') return [];
    if (todo === 'set' && contact) {
      const { name, groups, subscription, ask } = contact;
      const approved = item?.approved ?? false;
      return [{ jid: key, name, groups, subscription, ask, approved }];
    }
    return item ? [item] : [];
  });
  return { wanted, present };
};

const entries = (list: readonly (CommonItem | Contact | ServerItem)[]) =>
  new Map(
    [...list]
      .sort((a, b) => (a.jid < b.jid ? -1 : 1))
      .map((each) => [each.jid, JSON.stringify(normalizeEntry(each))]),
  );

test('after a merge all agree, nothing is lost, and a second one does nothing', () => {
  fc.assert(
    fc.property(contacts, common, server, (mine, known, theirs) => {
      const list = mergeRoster(mine, known, theirs);
      const { wanted, present } = carryOut(list);
      assert.deepEqual(entries(wanted), entries(present));

      const [before, base, after] = [entries(mine), entries(known), entries(wanted)];
      for (const [key, text] of before) {
        // What a person changed, or inserted, stands.
        if (text !== base.get(key)) assert.equal(after.get(key), text);
      }
      for (const [key, text] of entries(theirs)) {
        const isUntouched = before.get(key) === base.get(key);
        // What changed at the server, and nobody here has touched, is taken over.
        if (isUntouched && !(base.has(key) && !before.has(key))) {
          assert.equal(after.get(key), text);
        }
        // What a person deleted is gone.
        if (base.has(key) && !before.has(key)) assert.ok(!after.has(key));
      }

      for (const each of mergeRoster(wanted, wanted, present)) {
        assert.equal(each.todo, null);
        const same = wanted.find(({ jid: key }) => key === each.jid);
        assert.deepEqual(each.contact, same);
      }
    }),
    { numRuns: 2_000 },
  );
});

test('a subscription that the server has is known to the contact', () => {
  fc.assert(
    fc.property(contacts, common, server, (mine, known, theirs) => {
      for (const { contact, item, todo } of mergeRoster(mine, known, theirs)) {
        if (!contact || !item || todo === 'remove') continue;
        assert.equal(contact.subscription, item.subscription);
        assert.equal(contact.ask, item.ask);
        if (isSubscribed(item)) assert.ok(!contact.isRefused);
      }
    }),
  );
});
