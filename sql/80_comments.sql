-- What \d+ tells. Each table's comment begins with its kind: desired (written by people), observed
-- (written by the daemon), queue, or log (append only).

comment on table rowgram_migrations is 'Log: the migrations that this database has had.';
comment on column rowgram_migrations.id is 'Number, in the order in which they ran.';
comment on column rowgram_migrations.name is 'File in migrations/.';
comment on column rowgram_migrations.run_on is 'When it ran.';

comment on table rowgram_settings is
  'Desired: settings of the whole installation, one row. Changes are live.';
comment on column rowgram_settings.id is 'Always true: there is one row.';
comment on column rowgram_settings.queue_keep is
  'How long settled queue rows are kept, dropped by whole months; NULL keeps them for ever.';
comment on column rowgram_settings.received_keep is
  'How long received messages are kept, dropped by whole months; NULL keeps them for ever.';
comment on column rowgram_settings.stanza_id_secret is
  'Makes the ids of sent messages unguessable. Change it and receipts under way no longer find their row.';

comment on table rowgram_migrations is 'Observed: the migrations that this database has had.';
comment on column rowgram_migrations.id is 'Number of the migration, in the order run.';
comment on column rowgram_migrations.name is 'Its file, without the ending.';
comment on column rowgram_migrations.run_on is 'When it was run.';

comment on table rowgram_daemons is
  'Observed: the daemons that run now. DELETE does nothing to the daemon; pg_terminate_backend(backend) makes it close its links and start over.';
comment on column rowgram_daemons.id is 'Number of this run of a daemon; its advisory lock while it lives.';
comment on column rowgram_daemons.host is 'Host name where it runs.';
comment on column rowgram_daemons.pid is 'Process id on that host.';
comment on column rowgram_daemons.version is 'Version of Rowgram.';
comment on column rowgram_daemons.gateways is 'The gateways it runs.';
comment on column rowgram_daemons.backend is 'Process id of its control connection in Postgres.';
comment on column rowgram_daemons.started_at is 'When it came.';
comment on column rowgram_daemons.seen_at is
  'Its last heartbeat, every 2 seconds. One that is 10 seconds old is ended by the other daemons.';

comment on table rowgram_shards is
  'Observed: which daemon holds which sixty-fourth of a gateway''s links. Ownership itself is an advisory lock on the id.';
comment on column rowgram_shards.id is 'The advisory lock''s second key; the first is this table''s oid.';
comment on column rowgram_shards.gateway is 'The gateway, such as xmpp.';
comment on column rowgram_shards.shard is
  'The link''s id modulo 64; 64 stands for the rows that name no link and go out by the default one.';
comment on column rowgram_shards.epoch is
  'Counts the takings. A result written under an older epoch changes nothing.';
comment on column rowgram_shards.daemon_id is 'The daemon that took it last.';
comment on column rowgram_shards.taken_at is 'When it was taken.';

comment on table rowgram_idempotency_keys is
  'Observed: the keys that queue rows have used. A second row with a key of the same creator is not inserted.';
comment on column rowgram_idempotency_keys.queue is 'Name of the queue.';
comment on column rowgram_idempotency_keys.created_by is 'The role that inserted the row.';
comment on column rowgram_idempotency_keys.idempotency_key is 'The key, as given.';
comment on column rowgram_idempotency_keys.row_id is 'The row that has it.';
comment on column rowgram_idempotency_keys.inserted_at is
  'When it was used; forgotten after rowgram_settings.queue_keep.';

comment on table xmpp_accounts is
  'Desired: XMPP accounts to hold online, any number at once; state and what follows it are observed. INSERT, UPDATE and DELETE take effect at once, without touching the other accounts.';
comment on column xmpp_accounts.id is 'Number of the account, for account_id in the queues.';
comment on column xmpp_accounts.enabled is 'Whether the account is to be online.';
comment on column xmpp_accounts.acc_jid is 'Bare JID, such as username@server.';
comment on column xmpp_accounts.acc_pass is
  'Password; or env:NAME or file:/path, read by the daemon at each login.';
comment on column xmpp_accounts.srv_host is
  'Host to connect to; empty to look the domain of the JID up in DNS (SRV, then its address).';
comment on column xmpp_accounts.srv_port is 'Port to connect to, where DNS does not name one.';
comment on column xmpp_accounts.is_default is
  'Sends the rows that name no account. Without any, the enabled account with the lowest id does.';
comment on column xmpp_accounts.resource is 'Resource to bind (RFC 6120 §7). Not shared with another client.';
comment on column xmpp_accounts.tls is
  'auto: TLS is required, but for a loopback host; starttls; direct: TLS from the first byte (XEP-0368); none: in clear.';
comment on column xmpp_accounts.tls_ca is
  'Certificates in PEM that the server''s must lead to; NULL for the well-known ones.';
comment on column xmpp_accounts.priority is
  'Presence priority, -128 to 127 (RFC 6121 §4.7.2.3). Negative: gets no message sent to the bare JID. NULL: sends no presence, so offline messages stay at the server.';
comment on column xmpp_accounts.show is 'chat, away, xa or dnd; NULL for plainly available (RFC 6121 §4.7.2.1).';
comment on column xmpp_accounts.status is 'Status text of the presence.';
comment on column xmpp_accounts.subscription_policy is
  'Answer to those who ask to see the presence: accept, reject, or ask: leave it to another client of the account.';
comment on column xmpp_accounts.send_receipts is
  'Whether received messages that ask for a receipt get one, after their row is committed (XEP-0184).';
comment on column xmpp_accounts.max_stanza_bytes is
  'Rows that would be larger on the wire fail. Most servers end the stream at 262144.';
comment on column xmpp_accounts.state is
  'Observed: off, connecting, online, backoff (tries again at next_try_at), refused (rests until the row changes, or until next_try_at where that is set), conflict (another client took the resource).';
comment on column xmpp_accounts.state_info is 'Observed: the reason of the state in words.';
comment on column xmpp_accounts.state_changed_at is 'Observed: since when.';
comment on column xmpp_accounts.next_try_at is 'Observed: when a connection is tried again.';
comment on column xmpp_accounts.full_jid is 'Observed: the address bound at the server, with resource.';

comment on table xmpp_streams is
  'Observed: what a daemon needs to resume an account''s stream (XEP-0198), written with the received rows. DELETE makes the next start a fresh login.';
comment on column xmpp_streams.account_id is 'The account.';
comment on column xmpp_streams.full_jid is 'The address that the stream has bound.';
comment on column xmpp_streams.sm_id is 'The id that resumes the stream.';
comment on column xmpp_streams.sm_h is 'Stanzas received and committed, modulo 2^32.';
comment on column xmpp_streams.location is 'Where the server wants the stream resumed, if it said.';
comment on column xmpp_streams.updated_at is 'When it was written.';

comment on table xmpp_tx_queue is
  'Queue: messages to send. INSERT is enough. To cancel a queued row or to try a failed one again, UPDATE its state to cancelled or queued. Results are announced on the channel xmpp_tx_queue_results.';
comment on column xmpp_tx_queue.id is 'Number of the row; messages go out in its order within a priority.';
comment on column xmpp_tx_queue.insert_timestamp is 'When the row was inserted.';
comment on column xmpp_tx_queue.message_stanza is
  'A whole <message/>, sent in place of the other message_* columns. Its from and id are overwritten.';
comment on column xmpp_tx_queue.message_to is 'JID of the recipient.';
comment on column xmpp_tx_queue.message_subject is 'Subject.';
comment on column xmpp_tx_queue.message_body is 'Text.';
comment on column xmpp_tx_queue.submission_timestamp is
  'When the server of the account acknowledged the message (XEP-0198).';
comment on column xmpp_tx_queue.submission_failed is
  'True when the message could not be sent, or came back as an error.';
comment on column xmpp_tx_queue.submission_info is
  'Why it failed, or what it waits for, in words; for an error from the network the error stanza.';
comment on column xmpp_tx_queue.account_id is
  'The sending account (see xmpp_account(jid)); NULL for the default one, filled in when sent.';
comment on column xmpp_tx_queue.message_type is 'Type of the message (RFC 6121 §5.2.2).';
comment on column xmpp_tx_queue.thread is 'Thread of the conversation (XEP-0201).';
comment on column xmpp_tx_queue.lang is 'Language of subject and body, such as en (xml:lang).';
comment on column xmpp_tx_queue.request_receipt is
  'Asks the recipient''s client for a receipt (XEP-0184); only chat and normal messages with a body ask.';
comment on column xmpp_tx_queue.send_after is 'Not to be sent before.';
comment on column xmpp_tx_queue.expires_at is 'Not to be sent any more from then on: the row becomes expired.';
comment on column xmpp_tx_queue.priority is 'Smaller goes first; 0 by default.';
comment on column xmpp_tx_queue.idempotency_key is
  'A second row with the same key by the same role is quietly not inserted.';
comment on column xmpp_tx_queue.state is
  'queued; submitted: the server has it; delivered: a receipt came (XEP-0184); displayed: it was read (XEP-0333); failed; expired; cancelled. submitting is kept for queues that record it.';
comment on column xmpp_tx_queue.attempts is 'How often the row was put off to be tried again.';
comment on column xmpp_tx_queue.next_try_at is 'Not to be tried again before.';
comment on column xmpp_tx_queue.stanza_id is 'The id of the message on the wire, the same each time it is sent.';
comment on column xmpp_tx_queue.delivered_at is 'When the recipient''s client confirmed it (XEP-0184).';
comment on column xmpp_tx_queue.displayed_at is 'When the recipient read it (XEP-0333).';
comment on column xmpp_tx_queue.created_by is 'The role that inserted the row.';
comment on column xmpp_tx_queue.txid is 'The transaction that queued the row; by it the daemon finds new rows.';
comment on column xmpp_tx_queue.settled is 'Whether the row is done with; it then stands in the partition of its month.';

comment on table xmpp_rx_queue is
  'Log: messages received, a row each, before they are acknowledged to the server. New rows are announced on the channel xmpp_rx_queue.';
comment on column xmpp_rx_queue.id is 'Number of the row, in order of arrival within an account.';
comment on column xmpp_rx_queue.insert_timestamp is 'When the message arrived here.';
comment on column xmpp_rx_queue.message_stanza is 'The whole stanza.';
comment on column xmpp_rx_queue.message_from is 'JID of the sender.';
comment on column xmpp_rx_queue.message_subject is 'Subject.';
comment on column xmpp_rx_queue.message_body is 'Text.';
comment on column xmpp_rx_queue.message_to is 'JID it was sent to: the account''s, bare or full.';
comment on column xmpp_rx_queue.account_id is 'The account that received it.';
comment on column xmpp_rx_queue.message_type is 'normal, chat, groupchat, headline or error (RFC 6121 §5.2.2).';
comment on column xmpp_rx_queue.message_id is 'The id attribute, given by the sender.';
comment on column xmpp_rx_queue.origin_id is 'The id given by the sending client (XEP-0359).';
comment on column xmpp_rx_queue.archive_id is
  'The id given by the account''s own server (XEP-0359); a message that comes again with it is not stored twice.';
comment on column xmpp_rx_queue.thread is 'Thread of the conversation (XEP-0201).';
comment on column xmpp_rx_queue.lang is 'Language of subject and body (xml:lang).';
comment on column xmpp_rx_queue.delayed_at is 'When it was sent, if it was held back on the way (XEP-0203).';
comment on column xmpp_rx_queue.error_condition is
  'Of an error that belongs to no sent row: the condition, such as item-not-found (RFC 6120 §8.3.3).';

comment on function rowgram_wait(bigint, interval, regclass) is
  'Waits until the committed row is sent or settled, at most for the time given, and returns its state.';
comment on function xmpp_account(text) is 'The id of the account with this bare JID, an enabled one first; NULL if there is none.';
comment on function notify_table_change() is 'Trigger: announces on the channel notify_table_change which table changed.';
comment on function rowgram_ring() is 'Trigger: wakes the sleeping reader of a queue; the payload is the shard.';
comment on function rowgram_keep_idempotency_key() is 'Trigger: lets only the first row of an idempotency key in.';
comment on function rowgram_change_state() is 'Trigger: holds users to cancelling and queueing again.';
comment on function rowgram_create_partitions(integer) is 'Makes the partitions of this month and the next ones.';
comment on function rowgram_drop_partitions() is
  'Drops the partitions that rowgram_settings no longer keeps; returns their names.';
