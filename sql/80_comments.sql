-- What \d+ tells. Each table's comment begins with its kind: desired (written by people), observed
-- (written by the daemon), queue, or log (append only).

comment on table rowgram_settings is
  'Desired: settings of the whole installation, one row. Changes are live.';
comment on column rowgram_settings.id is 'Always true: there is one row.';
comment on column rowgram_settings.queue_keep is
  'How long settled queue rows are kept, dropped by whole months; NULL keeps them for ever.';
comment on column rowgram_settings.received_keep is
  'How long received messages are kept, dropped by whole months, and what went through the bytestreams proxy; NULL keeps them for ever.';
comment on column rowgram_settings.users_domain is
  'Domain of the users and groups that name none, and the one that Openfire serves. Those that came before it was set get it.';
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
  'Presence priority, -128 to 127 (RFC 6121 §4.7.2.3). Negative: gets no message sent to the bare JID. NULL: sends no presence, so offline messages stay at the server; contacts then wait, and no presence is seen.';
comment on column xmpp_accounts.show is 'chat, away, xa or dnd; NULL for plainly available (RFC 6121 §4.7.2.1).';
comment on column xmpp_accounts.status is 'Status text of the presence.';
comment on column xmpp_accounts.subscription_policy is
  'Answer to those who ask to see the presence: accept, reject, or ask: a row in xmpp_subscription_requests, for a person or another client of the account. allow of a contact goes before it.';
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

comment on table xmpp_components is
  'Desired: domains that are components of an XMPP server (XEP-0114), each served by one gateway; state and what follows it are observed. INSERT, UPDATE and DELETE take effect at once, without touching the other components.';
comment on column xmpp_components.id is 'Number of the component.';
comment on column xmpp_components.domain is
  'The domain, such as proxy.example.org. The server must know it as an external component.';
comment on column xmpp_components.gateway is 'What serves it: bytestreams, muc, oscar or sip.';
comment on column xmpp_components.enabled is 'Whether the component is to be online.';
comment on column xmpp_components.srv_host is
  'Host of the XMPP server. With TLS, its certificate must be for this name.';
comment on column xmpp_components.srv_port is
  'Port where the server takes components: 5347 in Prosody and as a rule in ejabberd, 5275 in Openfire, or 5276 with TLS.';
comment on column xmpp_components.secret is
  'What the server has as the component''s secret; or env:NAME or file:/path, read by the daemon at each login.';
comment on column xmpp_components.tls is
  'auto: TLS from the first byte, but in clear for 127.0.0.0/8, ::1 and localhost; direct: TLS from the first byte; none: in clear. XEP-0114 has no STARTTLS.';
comment on column xmpp_components.tls_ca is
  'Certificates in PEM that the server''s must lead to; NULL for the well-known ones.';
comment on column xmpp_components.state is
  'Observed: off, connecting, online, backoff (tries again at next_try_at), refused (rests until the row changes, or until next_try_at where that is set), conflict (the server has another connection for the domain; tries again at next_try_at).';
comment on column xmpp_components.state_info is 'Observed: the reason of the state in words.';
comment on column xmpp_components.state_changed_at is 'Observed: since when.';
comment on column xmpp_components.next_try_at is 'Observed: when a connection is tried again.';

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
  'Asks the recipient''s client for a receipt (XEP-0184) and to be told when it is read (XEP-0333); only chat and normal messages with a body ask.';
comment on column xmpp_tx_queue.send_after is 'Not to be sent before.';
comment on column xmpp_tx_queue.expires_at is 'Not to be sent any more from then on: the row becomes expired.';
comment on column xmpp_tx_queue.priority is 'Smaller goes first; 0 by default.';
comment on column xmpp_tx_queue.idempotency_key is
  'A second row with the same key by the same role is quietly not inserted.';
comment on column xmpp_tx_queue.state is
  'queued; submitted: the server has it; delivered: a receipt came (XEP-0184); displayed: it was read (XEP-0333); failed; expired; cancelled. submitting: it is about to go out, or has; only of accounts with on_uncertain hold.';
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

comment on column xmpp_accounts.granted_to is
  'Roles whose members may use the account from SQL: send by it, read what it receives, change its contacts and rooms. By default every application.';
comment on column xmpp_accounts.on_uncertain is
  'What to do with messages that a lost connection, or a crash, has left in doubt: retry: send them again with the same id; hold: fail them, for a person to decide; archive: look for them in the server''s archive (XEP-0313) and send again what is not there; without an archive as retry.';
comment on column xmpp_accounts.room_invite_policy is
  'What to do with invitations to rooms: ask: keep them in xmpp_room_invites; accept: enter; reject: decline.';
comment on column xmpp_accounts.notify_nodes is
  'PEP nodes of contacts whose items are wanted (XEP-0163 §4), such as http://jabber.org/protocol/mood; they come to xmpp_pubsub_items.';
comment on column xmpp_accounts.max_attachment_bytes is 'Rows with a larger attachment fail.';
comment on column xmpp_accounts.spoofed_count is
  'Observed: stanzas that claimed what their sender may not: receipts, carbons, roster pushes, answers, archive results. They change nothing else.';

comment on column xmpp_tx_queue.message_html is
  'The text with markup, as the content of an XHTML body (XEP-0071); only the elements and attributes of its profile. Without message_body, its plain text is the body.';
comment on column xmpp_tx_queue.oob_url is
  'A URL that goes with the message (XEP-0066), such as that of a picture. Filled in once an attachment is uploaded.';
comment on column xmpp_tx_queue.attachment is
  'A file to upload to the account''s server (XEP-0363) and send as oob_url; not with message_stanza.';
comment on column xmpp_tx_queue.attachment_path is
  'The same from a regular file below the daemon''s ROWGRAM_ATTACHMENT_DIR, where .. and links may not lead out of it.';
comment on column xmpp_tx_queue.attachment_name is
  'File name for the recipient; by default that of the path.';
comment on column xmpp_tx_queue.attachment_type is 'Media type, such as image/png; by default by the name.';
comment on column xmpp_tx_queue.replaces_id is
  'The stanza_id of an earlier message that this one corrects (XEP-0308).';
comment on column xmpp_tx_queue.retracts_id is
  'The stanza_id of an earlier message that is taken back (XEP-0424).';
comment on column xmpp_tx_queue.reaction_to is
  'The id of the message that reactions are for: message_id of a received one, archive_id in a room (XEP-0444).';
comment on column xmpp_tx_queue.reactions is
  'All reactions of the account to that message; an empty array takes them back.';
comment on column xmpp_tx_queue.reply_to_id is
  'The id of the message that this one answers: message_id of a received one, archive_id in a room (XEP-0461).';
comment on column xmpp_tx_queue.reply_to_jid is 'Who wrote the message that this one answers.';
comment on column xmpp_tx_queue.displayed_id is
  'Tells message_to that the message with this id has been read (XEP-0333); without other content.';
comment on column xmpp_tx_queue.chat_state is
  'What the account''s user is doing (XEP-0085). A row with nothing else expires if it cannot go at once.';
comment on column xmpp_tx_queue.hints is
  'no-store, no-permanent-store, no-copy, store: for the servers on the way (XEP-0334).';
comment on column xmpp_tx_queue.encryption is
  'Namespace of the encryption that message_body is the fallback of (XEP-0380). Nothing is encrypted here: give the payload in message_stanza.';
comment on column xmpp_tx_queue.error_type is
  'Of the error that came back: auth, cancel, continue, modify or wait (RFC 6120 §8.3.2).';
comment on column xmpp_tx_queue.error_condition is 'Its condition, such as item-not-found (RFC 6120 §8.3.3).';
comment on column xmpp_tx_queue.error_text is 'Its text.';
comment on column xmpp_tx_queue.error_by is 'Who says so: the recipient, a room, or a server.';

comment on column xmpp_rx_queue.message_html is
  'The text with markup (XEP-0071), cleaned of all that its profile does not have: safe to show.';
comment on column xmpp_rx_queue.oob_url is 'URL that came with the message (XEP-0066).';
comment on column xmpp_rx_queue.replaces_id is
  'The id of the earlier message that this one corrects (XEP-0308).';
comment on column xmpp_rx_queue.retracts_id is
  'The id of the earlier message that its sender takes back (XEP-0424).';
comment on column xmpp_rx_queue.reaction_to is 'The id of the message that the reactions are for (XEP-0444).';
comment on column xmpp_rx_queue.reactions is
  'All reactions of the sender to that message; empty when taken back.';
comment on column xmpp_rx_queue.reply_to_id is
  'The id of the message that this one answers (XEP-0461). message_body then has no quote of it.';
comment on column xmpp_rx_queue.reply_to_jid is 'Who wrote that message, as the sender says.';
comment on column xmpp_rx_queue.markable is 'Whether the sender wants to know when it is read (XEP-0333).';
comment on column xmpp_rx_queue.chat_state is
  'What the sender was doing (XEP-0085); states without a message are in xmpp_chat_states.';
comment on column xmpp_rx_queue.hints is 'Hints of the sender to servers (XEP-0334).';
comment on column xmpp_rx_queue.encryption is
  'Namespace of the encryption (XEP-0380); message_body is then what the sender says to those who cannot decrypt.';
comment on column xmpp_rx_queue.carbon is
  'Of a message of another client of the account: sent or received by it (XEP-0280), or sent as its archive has it (XEP-0313); NULL for one that came to us, or that the archive has of others.';
comment on column xmpp_rx_queue.occupant_id is 'In a room: who wrote it, whatever the nick (XEP-0421).';
comment on column xmpp_rx_queue.error_type is
  'Of an error that belongs to no sent row: its type (RFC 6120 §8.3.2).';
comment on column xmpp_rx_queue.error_text is 'Its text.';
comment on column xmpp_rx_queue.error_by is 'Who says so.';

comment on table xmpp_chat_states is
  'Observed: what the peers of a conversation are doing now (XEP-0085).';
comment on column xmpp_chat_states.account_id is 'The account.';
comment on column xmpp_chat_states.jid is 'The peer, with resource.';
comment on column xmpp_chat_states.chat_state is 'active, composing, paused, inactive or gone.';
comment on column xmpp_chat_states.changed_at is 'Since when.';

comment on table xmpp_archives is
  'Observed: how far an archive has been read (XEP-0313); at each login it is read on from there. DELETE makes the next login begin at the archive''s end.';
comment on column xmpp_archives.account_id is 'The account.';
comment on column xmpp_archives.jid is 'Whose archive: the account''s own bare JID, or a room.';
comment on column xmpp_archives.archive_id is
  'Id of the last message that is in xmpp_rx_queue or was passed over; NULL when the archive was empty.';
comment on column xmpp_archives.read_at is
  'When that message was archived, or came; from then on is read when the archive does not know the id any more.';

comment on table xmpp_contacts is
  'Desired: the contacts of the accounts. INSERT adds to the roster and subscribes, UPDATE renames or moves, DELETE removes; what other clients change appears here. Changes made while the account is not online, or sends no presence, wait. state and what follows it are observed.';
comment on column xmpp_contacts.id is 'Number of the contact.';
comment on column xmpp_contacts.account_id is 'The account.';
comment on column xmpp_contacts.jid is 'Bare JID of the contact. Changing it is a DELETE and an INSERT.';
comment on column xmpp_contacts.name is 'Name for the contact; NULL for none.';
comment on column xmpp_contacts.groups is 'Groups that the contact is in.';
comment on column xmpp_contacts.subscribe is
  'Whether the contact is asked to show its presence. One that refused is asked again when the row is updated, with the same value too.';
comment on column xmpp_contacts.allow is
  'Whether the contact may see the account''s presence: true grants it, also in advance and whatever the subscription_policy, false takes it back and refuses it, NULL leaves it as it is.';
comment on column xmpp_contacts.state is
  'Observed: pending, stored (the server has it) or failed. An UPDATE makes it pending; what failed is tried again then, and not before.';
comment on column xmpp_contacts.state_info is 'Observed: the reason of the state in words.';
comment on column xmpp_contacts.state_changed_at is 'Observed: since when.';
comment on column xmpp_contacts.subscription is
  'Observed: whose presence is seen: none, to (the contact''s), from (the account''s), both (RFC 6121 §2.1.2.5).';
comment on column xmpp_contacts.ask is 'Observed: subscribe while the contact has not answered.';
comment on column xmpp_contacts.refused_at is
  'Observed: when the contact refused to show its presence or no longer did, or another client of the account gave it up.';

comment on table xmpp_roster_items is
  'Observed: what the contacts and the server''s roster last had in common. Against it, what changed in xmpp_contacts and what changed at the server can be told apart.';
comment on column xmpp_roster_items.account_id is 'The account.';
comment on column xmpp_roster_items.jid is 'Bare JID of the contact, in its normal form.';
comment on column xmpp_roster_items.account_jid is 'The account''s JID at whose server it is; another''s roster has nothing in common.';
comment on column xmpp_roster_items.is_common is 'False as long as only the server has it: name and groups mean nothing then.';
comment on column xmpp_roster_items.name is 'Name at the server.';
comment on column xmpp_roster_items.groups is 'Groups at the server.';
comment on column xmpp_roster_items.approved is 'Whether the server will let the contact see the presence once it asks (RFC 6121 §3.4).';
comment on column xmpp_roster_items.pushed is 'The item as the server has told it since, until it is merged.';

comment on table xmpp_subscription_requests is
  'Observed: who asks to see an account''s presence, where its subscription_policy is ask and no contact says allow. UPDATE answer to accept or reject.';
comment on column xmpp_subscription_requests.account_id is 'The account.';
comment on column xmpp_subscription_requests.jid is 'Who asks.';
comment on column xmpp_subscription_requests.status is 'What they say.';
comment on column xmpp_subscription_requests.requested_at is 'When they asked last.';
comment on column xmpp_subscription_requests.answer is
  'accept or reject; NULL while nobody has decided, and again when they ask anew after the answer was sent.';
comment on column xmpp_subscription_requests.answered_at is 'When the answer was sent, by this or another client of the account.';

comment on table xmpp_presences is
  'Observed: who is available to an account, a row for each client of each contact and for its own others. Rows go when the account is disabled, when its stream ends for good, and 10 s after the connection is lost; they come back with it.';
comment on column xmpp_presences.account_id is 'The account that sees it.';
comment on column xmpp_presences.jid is 'JID with resource.';
comment on column xmpp_presences.bare_jid is 'The same without.';
comment on column xmpp_presences.show is 'away, chat, dnd or xa; NULL for plainly available.';
comment on column xmpp_presences.status is 'Status text.';
comment on column xmpp_presences.priority is 'Priority of the client.';
comment on column xmpp_presences.avatar_hash is
  'SHA-1 of the picture, in hex; empty for none, NULL when not told (XEP-0153).';
comment on column xmpp_presences.since is 'Since when it is so.';

comment on table xmpp_directed_presences is
  'Desired: whom an account shows presence besides its contacts (RFC 6121 §4.6), also where it sends none else. INSERT, UPDATE and DELETE take effect while it is online, and again at each login. state and what follows it are observed.';
comment on column xmpp_directed_presences.account_id is 'The account.';
comment on column xmpp_directed_presences.jid is 'To whom.';
comment on column xmpp_directed_presences.show is 'chat, away, xa or dnd; NULL for plainly available.';
comment on column xmpp_directed_presences.status is 'Status text.';
comment on column xmpp_directed_presences.state is
  'Observed: pending, sent or failed. What failed is tried again after an UPDATE, and at the next login.';
comment on column xmpp_directed_presences.state_info is 'Observed: the reason of the state in words.';
comment on column xmpp_directed_presences.state_changed_at is 'Observed: since when.';

comment on table xmpp_profiles is
  'Desired: what an account shows of itself, published as its vCard and avatar (XEP-0054, XEP-0084, XEP-0153) when the row is inserted or changed. state and what follows it are observed. NULL takes a field away; what else the vCard has is kept. DELETE leaves what is published as it is.';
comment on column xmpp_profiles.account_id is 'The account.';
comment on column xmpp_profiles.full_name is 'Full name.';
comment on column xmpp_profiles.nickname is 'Nickname.';
comment on column xmpp_profiles.email is 'E-mail address.';
comment on column xmpp_profiles.url is 'Web address.';
comment on column xmpp_profiles.description is 'A few words.';
comment on column xmpp_profiles.avatar is
  'Picture: PNG, JPEG, WebP or GIF of at most 10 MB and 50 megapixels; published as a PNG of at most 192 by 192 pixels, without metadata.';
comment on column xmpp_profiles.state is 'Observed: pending, published or failed.';
comment on column xmpp_profiles.state_info is 'Observed: the reason of the state in words.';
comment on column xmpp_profiles.state_changed_at is 'Observed: since when.';
comment on column xmpp_profiles.avatar_hash is 'Observed: SHA-1 of the published picture, in hex.';

comment on table xmpp_contact_profiles is
  'Desired: whose vCard and picture are wanted. INSERT fetches them once; they are fetched again when the contact''s picture changes or state is set to pending. All but account_id and jid is observed.';
comment on column xmpp_contact_profiles.account_id is 'The account that asks.';
comment on column xmpp_contact_profiles.jid is 'Bare JID of whom.';
comment on column xmpp_contact_profiles.state is 'pending, fetched or failed.';
comment on column xmpp_contact_profiles.state_info is 'The reason of the state in words.';
comment on column xmpp_contact_profiles.state_changed_at is 'Since when.';
comment on column xmpp_contact_profiles.full_name is 'Full name.';
comment on column xmpp_contact_profiles.nickname is 'Nickname.';
comment on column xmpp_contact_profiles.email is 'E-mail address.';
comment on column xmpp_contact_profiles.url is 'Web address.';
comment on column xmpp_contact_profiles.description is 'A few words.';
comment on column xmpp_contact_profiles.avatar is
  'The picture as it came: PNG, JPEG, WebP or GIF of at most 750 kB; others are told of in state_info.';
comment on column xmpp_contact_profiles.avatar_type is 'Its media type.';
comment on column xmpp_contact_profiles.avatar_hash is 'Its SHA-1, in hex.';

comment on table xmpp_rooms is
  'Desired: rooms that an account is in (XEP-0045). INSERT enters, UPDATE of nick changes it, DELETE or enabled = false leaves. state and what follows it are observed.';
comment on column xmpp_rooms.id is 'Number of the row.';
comment on column xmpp_rooms.account_id is 'The account.';
comment on column xmpp_rooms.room_jid is 'Bare JID of the room.';
comment on column xmpp_rooms.nick is 'Wanted nick; NULL for the name of the account.';
comment on column xmpp_rooms.password is 'Password of the room.';
comment on column xmpp_rooms.enabled is 'Whether the account is to be in the room.';
comment on column xmpp_rooms.state is
  'Observed: pending, joining, joined, left, backoff (tries again at next_try_at), refused (rests until the row is updated, if only to what it was).';
comment on column xmpp_rooms.state_info is 'Observed: the reason of the state in words.';
comment on column xmpp_rooms.state_changed_at is 'Observed: since when.';
comment on column xmpp_rooms.next_try_at is 'Observed: when it is tried again.';
comment on column xmpp_rooms.own_nick is 'Observed: the nick in the room.';
comment on column xmpp_rooms.role is 'Observed: moderator, participant, visitor or none.';
comment on column xmpp_rooms.affiliation is 'Observed: owner, admin, member, none or outcast.';
comment on column xmpp_rooms.occupants is 'Observed: how many are in the room.';
comment on column xmpp_rooms.subject is 'Observed: subject of the room.';

comment on table xmpp_room_occupants is
  'Observed: who is in the rooms.';
comment on column xmpp_room_occupants.room_id is 'The room, in xmpp_rooms.';
comment on column xmpp_room_occupants.nick is 'Nick in the room.';
comment on column xmpp_room_occupants.jid is 'Real JID, where the room shows it.';
comment on column xmpp_room_occupants.role is 'moderator, participant or visitor.';
comment on column xmpp_room_occupants.affiliation is 'owner, admin, member or none.';
comment on column xmpp_room_occupants.show is 'away, chat, dnd or xa; NULL for plainly available.';
comment on column xmpp_room_occupants.status is 'Status text.';
comment on column xmpp_room_occupants.occupant_id is 'Who it is, whatever the nick (XEP-0421).';
comment on column xmpp_room_occupants.since is 'Since when.';

comment on table xmpp_room_invites is
  'Observed: invitations to rooms (XEP-0045 §7.8, XEP-0249), where the account''s room_invite_policy is ask. UPDATE answer to accept or reject.';
comment on column xmpp_room_invites.id is 'Number of the row.';
comment on column xmpp_room_invites.account_id is 'The account that is invited.';
comment on column xmpp_room_invites.room_jid is 'The room.';
comment on column xmpp_room_invites.from_jid is 'Who invites, as far as told.';
comment on column xmpp_room_invites.reason is 'What they say.';
comment on column xmpp_room_invites.password is 'Password of the room, if it came along.';
comment on column xmpp_room_invites.is_direct is
  'Whether it came from the inviter and not through the room (XEP-0249): then the room is not told of a rejection.';
comment on column xmpp_room_invites.received_at is 'When it last came.';
comment on column xmpp_room_invites.answer is 'accept or reject; NULL while nobody has decided.';
comment on column xmpp_room_invites.answered_at is 'When it was acted on.';

comment on table xmpp_iq_queue is
  'Queue: requests to send (RFC 6120 §8.2.3); the row gets the answer. INSERT is enough; see also xmpp_publish. Results are announced on the channel xmpp_iq_queue_results.';
comment on column xmpp_iq_queue.id is 'Number of the row.';
comment on column xmpp_iq_queue.insert_timestamp is 'When the row was inserted.';
comment on column xmpp_iq_queue.account_id is
  'The asking account; NULL for the default one, filled in when sent.';
comment on column xmpp_iq_queue.iq_to is 'Who is asked; NULL for the account''s own server, on its behalf.';
comment on column xmpp_iq_queue.iq_type is 'get or set.';
comment on column xmpp_iq_queue.payload is 'The one child element of the stanza, as XML.';
comment on column xmpp_iq_queue.timeout_s is
  'How long to wait for the answer once it is sent, in seconds: 1 to 86400.';
comment on column xmpp_iq_queue.response is 'The whole answer, a result or an error, as XML.';
comment on column xmpp_iq_queue.error_type is
  'Of an error: auth, cancel, continue, modify or wait (RFC 6120 §8.3.2).';
comment on column xmpp_iq_queue.error_condition is 'Its condition, such as item-not-found (RFC 6120 §8.3.3).';
comment on column xmpp_iq_queue.error_text is 'Its text.';
comment on column xmpp_iq_queue.send_after is 'Not to be sent before.';
comment on column xmpp_iq_queue.expires_at is
  'Not to be sent any more from then on: the row becomes expired.';
comment on column xmpp_iq_queue.priority is 'Smaller goes first; 0 by default.';
comment on column xmpp_iq_queue.idempotency_key is
  'A second row with the same key by the same role is quietly not inserted.';
comment on column xmpp_iq_queue.state is
  'queued until it is answered; delivered: by a result; failed: by an error, or not in time; expired; cancelled.';
comment on column xmpp_iq_queue.attempts is 'How often the row was put off to be tried again.';
comment on column xmpp_iq_queue.next_try_at is 'Not to be tried again before.';
comment on column xmpp_iq_queue.stanza_id is 'The id on the wire, the same each time it is sent.';
comment on column xmpp_iq_queue.submission_timestamp is 'When the answer was stored.';
comment on column xmpp_iq_queue.submission_failed is 'True when the answer is an error, or there is none.';
comment on column xmpp_iq_queue.submission_info is 'Why it failed, or what it waits for, in words.';
comment on column xmpp_iq_queue.delivered_at is 'When the result came.';
comment on column xmpp_iq_queue.created_by is 'The role that inserted the row.';
comment on column xmpp_iq_queue.txid is
  'The transaction that queued the row; by it the daemon finds new rows.';
comment on column xmpp_iq_queue.settled is
  'Whether the row is done with; it then stands in the partition of its month.';

comment on table xmpp_iq_handlers is
  'Desired: which requests of others are answered, by the namespace of their content. Others get service-unavailable. Pings, the version, the time and service discovery are answered by the daemon.';
comment on column xmpp_iq_handlers.id is 'Number of the row.';
comment on column xmpp_iq_handlers.account_id is 'For requests to this account; NULL for all accounts.';
comment on column xmpp_iq_handlers.namespace is 'Namespace of the request''s child element.';
comment on column xmpp_iq_handlers.function is
  'Answers at once: a SECURITY DEFINER function (account_id bigint, iq_from text, iq_type text, payload text) returns text: the child element of the result, NULL for an empty one. What it raises is the error: P0001 (the default) is bad-request with the message, insufficient_privilege forbidden, no_data_found item-not-found, all else internal-server-error. NULL: the request becomes a row of xmpp_iq_requests.';
comment on column xmpp_iq_handlers.timeout_s is 'By when there must be an answer, in seconds.';

comment on table xmpp_iq_requests is
  'Observed: requests of others that wait for an answer, or have had it. UPDATE response or error_condition to answer. New ones are announced on the channel xmpp_iq_requests.';
comment on column xmpp_iq_requests.id is 'Number of the row.';
comment on column xmpp_iq_requests.account_id is 'The account that is asked.';
comment on column xmpp_iq_requests.iq_from is 'Who asks; NULL for the account''s own server.';
comment on column xmpp_iq_requests.iq_type is 'get or set.';
comment on column xmpp_iq_requests.iq_id is 'Id of the request, given by who asks.';
comment on column xmpp_iq_requests.namespace is 'Namespace of the content.';
comment on column xmpp_iq_requests.payload is 'The child element of the stanza, as XML.';
comment on column xmpp_iq_requests.received_at is 'When it came.';
comment on column xmpp_iq_requests.answer_by is 'After that the daemon answers with service-unavailable.';
comment on column xmpp_iq_requests.response is
  'The answer: the child element of the result, as XML; empty for a result without one.';
comment on column xmpp_iq_requests.error_condition is
  'The answer: an error with this condition (RFC 6120 §8.3.3).';
comment on column xmpp_iq_requests.error_text is 'Text of that error.';
comment on column xmpp_iq_requests.state is
  'pending; answered; expired: there was no answer in time; failed: the response could not be sent, and an error was.';
comment on column xmpp_iq_requests.state_info is 'Why the response could not be sent, in words.';
comment on column xmpp_iq_requests.answered_at is 'When the answer was sent.';

comment on table xmpp_commands is
  'Desired: commands that accounts offer (XEP-0050), run by functions in the database.';
comment on column xmpp_commands.id is 'Number of the row.';
comment on column xmpp_commands.account_id is 'The account that offers it; NULL for all.';
comment on column xmpp_commands.node is 'Its node, as in the protocol.';
comment on column xmpp_commands.name is 'Its name for people.';
comment on column xmpp_commands.function is
  'A SECURITY DEFINER function (account_id bigint, jid text, fields jsonb) returns jsonb: fields is null at first, then what was filled in, by var, those of *-multi as arrays. It returns {"note": text, "note_type": "info", "warn" or "error"}, {"result": [fields]}, or {"form": [fields], "title": text, "instructions": text} to be filled in; a field is {"var", "type", "label", "value", "options", "required"}. Errors are as in xmpp_iq_handlers.';
comment on column xmpp_commands.allowed is
  'Bare JIDs, domains or * that may run it; NULL for the account itself.';

comment on table xmpp_pubsub_items is
  'Observed: items that came by publish-subscribe events (XEP-0060), the last one of each id; retracted ones go. Changes are announced on the channel xmpp_pubsub_items. Contacts send them of the nodes in notify_nodes of the account.';
comment on column xmpp_pubsub_items.account_id is 'The account that got it.';
comment on column xmpp_pubsub_items.service is
  'Who published: the bare JID of a contact (XEP-0163), or a service.';
comment on column xmpp_pubsub_items.node is 'The node.';
comment on column xmpp_pubsub_items.item_id is 'Id of the item; empty for one without.';
comment on column xmpp_pubsub_items.payload is 'Content, as XML.';
comment on column xmpp_pubsub_items.published_at is 'When it came, or was published, if told.';

comment on function rowgram_wait(bigint, interval, regclass) is
  'Waits until the committed row is sent or settled, at most for the time given, and returns its state.';
comment on function xmpp_escape(text) is 'Text as it stands in XML, in an element or an attribute.';
comment on function xmpp_publish(text, text, text, bigint, text) is
  'Queues the publication of an item, given as XML: at a service, or for the contacts of the account (XEP-0163) if service is NULL. Without an item_id the service chooses one. Returns the id in xmpp_iq_queue.';
comment on function xmpp_retract_item(text, text, bigint, text) is
  'Queues the retraction of an item that was published. Returns the id in xmpp_iq_queue.';
comment on function rowgram_check_function() is 'Trigger: a function that the daemon is to call must be there and fit.';
comment on function rowgram_keep_answer() is 'Trigger: a request has one answer.';
comment on function rowgram_forget_answer() is 'Trigger: a request that is queued again has no answer.';
comment on function xmpp_account(text) is 'The id of the account with this bare JID, an enabled one first; NULL if there is none.';
comment on function xmpp_escape(text) is 'The text as it may stand in XML, also in an attribute.';
comment on function xmpp_invite(bigint, text, text) is
  'Invites somebody to a room that an account is in (xmpp_rooms.id), through the room; with a reason. Returns the row in xmpp_tx_queue.';
comment on function rowgram_renew_room() is 'Trigger: what is wanted of a room is acted on again, even if it was refused.';
comment on function rowgram_renew_answer() is 'Trigger: an answer to an invitation is acted on.';
comment on function notify_table_change() is 'Trigger: announces on the channel notify_table_change which table changed.';
comment on function xmpp_await_publication() is 'Trigger: a changed profile is pending again.';
comment on function rowgram_ring() is 'Trigger: wakes the sleeping reader of a queue; the payload is the shard.';
comment on function rowgram_keep_idempotency_key() is 'Trigger: lets only the first row of an idempotency key in.';
comment on function rowgram_change_state() is 'Trigger: holds users to cancelling and queueing again.';
comment on function rowgram_create_partitions(integer) is 'Makes the partitions of this month and the next ones.';
comment on function rowgram_drop_partitions() is
  'Drops the partitions that rowgram_settings no longer keeps; returns their names.';
comment on function xmpp_default_account() is 'The account that sends the rows which name none; NULL if there is none.';
comment on function xmpp_granted_accounts(name) is 'The accounts that the role may use (see xmpp_accounts.granted_to).';
comment on function rowgram_mark_contact_pending() is 'A contact that a person changes is to be dealt with anew.';
comment on function rowgram_mark_presence_pending() is 'A directed presence that a person changes is to be sent anew.';

comment on table bytestream_streamhosts is
  'Desired: where a bytestreams proxy (XEP-0065) takes connections, and what it tells clients of that; state and what follows it are observed. INSERT, UPDATE and DELETE take effect at once; streams that are active go on.';
comment on column bytestream_streamhosts.id is 'Number of the streamhost.';
comment on column bytestream_streamhosts.proxy is 'Domain of the proxy, as in xmpp_components. With several streamhosts, each client is told one of them in turn.';
comment on column bytestream_streamhosts.enabled is 'Whether it is to take connections.';
comment on column bytestream_streamhosts.bind_address is 'Address of this machine to listen on; NULL for all of them.';
comment on column bytestream_streamhosts.port is 'Port to listen on. Each row needs a port of its own, and has a thread of its own.';
comment on column bytestream_streamhosts.public_host is 'Name or address that clients are told, such as that of the router in front; NULL for bind_address, or else the domain of the proxy.';
comment on column bytestream_streamhosts.public_port is 'Port that clients are told; NULL for port.';
comment on column bytestream_streamhosts.max_pending is 'Connections that belong to no active stream, at most; one more is reset.';
comment on column bytestream_streamhosts.max_pending_per_address is 'The same of one IPv4 address, or of one IPv6 network of 64 bits.';
comment on column bytestream_streamhosts.handshake_timeout_s is 'Seconds in which a connection has to have asked for its stream.';
comment on column bytestream_streamhosts.pending_timeout_s is 'Seconds in which a stream has to be activated then.';
comment on column bytestream_streamhosts.idle_timeout_s is 'Seconds after which an active stream ends when no byte went either way.';
comment on column bytestream_streamhosts.state is 'Observed: off, listening, or failed (tried again every few seconds).';
comment on column bytestream_streamhosts.state_info is 'Observed: why it does not listen.';
comment on column bytestream_streamhosts.state_changed_at is 'Observed: since when.';

comment on table bytestream_acl is
  'Desired: who may use a bytestreams proxy. For each role the first row that fits decides, by position and id; whom none fits may. It holds for the next query, activation and connection.';
comment on column bytestream_acl.id is 'Number of the row.';
comment on column bytestream_acl.position is 'Smaller comes first.';
comment on column bytestream_acl.proxy is 'Domain of the proxy that the row is for; NULL for all.';
comment on column bytestream_acl.role is 'requester: who asks for the proxy and activates streams; target: to whom they lead; ip: from where either connects.';
comment on column bytestream_acl.who is '*, a domain, *.domain for all below it, a bare or a full JID; for the role ip *, an address or a network (CIDR).';
comment on column bytestream_acl.action is 'allow or deny.';

comment on table bytestream_limits is
  'Desired: what each requester may have of a bytestreams proxy. The row that names a requester most closely holds, all of it; NULL is no limit. It holds for the next activation; a changed rate or quota is not that of streams that are active.';
comment on column bytestream_limits.id is 'Number of the row.';
comment on column bytestream_limits.proxy is 'Domain of the proxy that the row is for; NULL for all, after one that is for this.';
comment on column bytestream_limits.who is '*, *.domain for all below it, a domain, a bare or a full JID, from the least close to the closest.';
comment on column bytestream_limits.max_streams is 'Active streams of one user at once.';
comment on column bytestream_limits.rate_limit is 'Bytes a second of one stream, both directions together.';
comment on column bytestream_limits.max_bytes is 'Bytes of one stream, both directions together.';
comment on column bytestream_limits.max_time_s is 'Seconds of one stream.';
comment on column bytestream_limits.quota_bytes is 'Bytes of all streams of one user within quota_period; streams end at it.';
comment on column bytestream_limits.quota_period is 'hour, day or month, by UTC.';

comment on table bytestream_streams is
  'Observed: streams that are active now. DELETE kills one, and UPDATE of rate_limit throttles it.';
comment on column bytestream_streams.id is 'Of the stream, here and in bytestream_log.';
comment on column bytestream_streams.proxy is 'Domain of the proxy.';
comment on column bytestream_streams.instance is 'The run of the daemon that relays it.';
comment on column bytestream_streams.sid is 'The id that the clients gave the stream.';
comment on column bytestream_streams.hash is 'What both ends have asked for: SHA-1 of sid, requester and target (XEP-0065 §5.3.2).';
comment on column bytestream_streams.requester is 'Full JID of who activated it.';
comment on column bytestream_streams.target is 'JID of the other end, as the requester gave it.';
comment on column bytestream_streams.requester_address is 'From where the requester connected: it is taken to be the second to do so (XEP-0065 §6.2).';
comment on column bytestream_streams.target_address is 'From where the target connected.';
comment on column bytestream_streams.rate_limit is 'Bytes a second, both directions together; NULL for no limit. May be changed at any time.';
comment on column bytestream_streams.bytes_up is 'Bytes from the requester to the target, as of about a second ago.';
comment on column bytestream_streams.bytes_down is 'Bytes from the target to the requester.';
comment on column bytestream_streams.activated_at is 'When it was activated.';
comment on column bytestream_streams.last_byte_at is 'When a byte last went either way.';

comment on table bytestream_usage is
  'Log: what each user has relayed in each hour. Quotas are reckoned by it.';
comment on column bytestream_usage.proxy is 'Domain of the proxy.';
comment on column bytestream_usage.jid is 'Bare JID of the requester.';
comment on column bytestream_usage.hour is 'When the hour began.';
comment on column bytestream_usage.domain is 'Domain of the requester.';
comment on column bytestream_usage.streams is 'Streams that were first counted in this hour.';
comment on column bytestream_usage.bytes_up is 'Bytes from the requester to his targets.';
comment on column bytestream_usage.bytes_down is 'Bytes from his targets to the requester.';

comment on table bytestream_log is 'Log: streams that have ended, a row each.';
comment on column bytestream_log.id is 'Of the stream.';
comment on column bytestream_log.proxy is 'Domain of the proxy.';
comment on column bytestream_log.sid is 'The id that the clients gave the stream.';
comment on column bytestream_log.hash is 'What both ends have asked for.';
comment on column bytestream_log.requester is 'Full JID of who activated it.';
comment on column bytestream_log.target is 'JID of the other end.';
comment on column bytestream_log.requester_address is 'From where the requester connected.';
comment on column bytestream_log.target_address is 'From where the target connected.';
comment on column bytestream_log.bytes_up is 'Bytes from the requester to the target.';
comment on column bytestream_log.bytes_down is 'Bytes from the target to the requester.';
comment on column bytestream_log.activated_at is 'When it was activated.';
comment on column bytestream_log.last_byte_at is 'When a byte last went either way.';
comment on column bytestream_log.ended_at is 'When it ended.';
comment on column bytestream_log.reason is 'eof: both ends were done; reset: one end broke off; idle; killed: its row was deleted; quota, max_bytes, max_time: a limit; shutdown: the daemon stopped; crash: the daemon was gone, and the bytes are those of about a second before.';
comment on function rowgram_log_killed() is 'Trigger: a stream whose row is deleted is logged as killed, and the daemon told.';
