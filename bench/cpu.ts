/** What a message sent to a real server costs the daemon: its processor time, in bulk. */
import { type DaemonBench, enableAccounts, openDaemon } from './daemon.ts';
import { absolute, atMost, type Figure, median } from './figure.ts';
import { type Lab, until } from './lab.ts';
import { openReceiver } from './receiver.ts';

/** In bulk means that the code is warm. */
const WARM_UP_MESSAGES = 10_000;

/** Microseconds of the daemon's user and system time for each message. */
const measureCpu = async ({ client, child }: DaemonBench, messages: number): Promise<number> => {
  const before = await child.sample();
  await client.query(
    `insert into xmpp_tx_queue (message_to, message_body)
    select 'receiver@localhost', 'Message number ' || i || ' of a long row of them'
    from generate_series(1, $1::integer) i`,
    [messages],
  );
  await until(client, 'select not exists (select from xmpp_tx_queue where not settled)');
  const after = await child.sample();
  return (after.cpuUs - before.cpuUs) / messages;
};

export const cpu = async (lab: Lab): Promise<Figure[]> => {
  const isQuick = lab.scale === 'quick';
  const messages = isQuick ? 5_000 : 20_000;
  const bench = await openDaemon(lab, ['sender', 'receiver']);
  const { prosody, password } = bench;
  lab.use(await openReceiver({ ...prosody, jid: `receiver@${prosody.domain}`, password }));
  await enableAccounts(bench, ['sender']);
  await measureCpu(bench, WARM_UP_MESSAGES);
  const costs: number[] = [];
  for (let round = 0; round < (isQuick ? 1 : 3); round += 1) {
    const us = await measureCpu(bench, messages);
    lab.say(`cpu: ${us.toFixed(1)} µs a message`);
    costs.push(us);
  }
  return [
    absolute(
      `processor time a message, ${messages} in bulk`,
      median(costs),
      'µs',
      atMost('value', 25),
    ),
  ];
};
