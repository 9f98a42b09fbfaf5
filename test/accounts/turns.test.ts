/** Logins wait for their turn. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTurns } from '../../src/accounts/turns.ts';

/** Enters, and notes the name when it is let in. */
const createDoor = () => {
  const turns = createTurns();
  const inside: string[] = [];
  const leavers = new Map<string, () => void>();
  return {
    turns,
    inside,
    enter(name: string, host: string) {
      turns.enter(host).then((leave) => {
        inside.push(name);
        leavers.set(name, leave);
      });
    },
    leave: (name: string) => leavers.get(name)?.(),
    // All that has been resolved has been told by then.
    told: () => new Promise((done) => setImmediate(done)),
  };
};

test('five logins to one host begin at once, the others in their order', async () => {
  const door = createDoor();
  for (const name of ['1', '2', '3', '4', '5', '6', '7']) door.enter(name, 'a');
  await door.told();
  assert.deepEqual(door.inside, ['1', '2', '3', '4', '5']);
  door.leave('3');
  await door.told();
  assert.deepEqual(door.inside.slice(5), ['6']);
  door.leave('1');
  await door.told();
  assert.deepEqual(door.inside.slice(6), ['7']);
});

test('a full host does not hold up another one', async () => {
  const door = createDoor();
  for (const name of ['1', '2', '3', '4', '5', '6']) door.enter(name, 'a');
  door.enter('other', 'b');
  await door.told();
  assert.deepEqual(door.inside, ['1', '2', '3', '4', '5', 'other']);
});

test('ten logins begin at once in all', async () => {
  const door = createDoor();
  for (let index = 0; index < 15; index += 1) door.enter(`${index}`, `host${index}`);
  await door.told();
  assert.equal(door.inside.length, 10);
});

test('a turn from before all were dismissed does not end one of after', async () => {
  const door = createDoor();
  door.enter('old', 'a');
  await door.told();
  door.turns.clear();
  for (const name of ['1', '2', '3', '4', '5', '6']) door.enter(name, 'a');
  await door.told();
  door.leave('old');
  await door.told();
  assert.equal(door.inside.length, 6);
});

test('when all are dismissed, those who wait are let go', async () => {
  const door = createDoor();
  for (const name of ['1', '2', '3', '4', '5', '6']) door.enter(name, 'a');
  door.turns.clear();
  await door.told();
  assert.equal(door.inside.length, 6);
});
