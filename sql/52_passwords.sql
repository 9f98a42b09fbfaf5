-- How a password becomes verifiers. No message repeats the password.

-- What follows calls pgcrypto and citext, which may stand in another schema.
select set_config('search_path', array_to_string(array[quote_ident(current_schema())] || array(
    select distinct quote_ident(n.nspname) from pg_extension e join pg_namespace n on n.oid = e.extnamespace
    where e.extname in ('pgcrypto', 'citext') and n.nspname <> current_schema()
  ) || array['pg_temp'], ', '), true);

-- The salt is text: Prosody stores no other. The form is that of RFC 5803.
create or replace function rowgram_scram_verifier(password text, hash text) returns text
  language plpgsql set search_path from current as $$
declare
  iterations constant integer := 10000;
  salt constant bytea := convert_to(gen_random_uuid()::text, 'UTF8');
  -- SASLprep (RFC 4013 §2.1, §2.2).
  prepared constant bytea := convert_to(normalize(regexp_replace(regexp_replace(password,
    '[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]', ' ', 'g'),
    '[\u00ad\u034f\u1806\u180b-\u180d\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]', '', 'g'), NFKC), 'UTF8');
  -- PBKDF2 of one block (RFC 8018 §5.2); bits can be XORed, bytes cannot.
  block bytea := hmac(salt || '\x00000001', prepared, hash);
  bits varbit := ('x' || encode(block, 'hex'))::varbit;
  salted bytea;
begin
  for round in 2 .. iterations loop
    block := hmac(block, prepared, hash);
    bits := bits # ('x' || encode(block, 'hex'))::varbit;
  end loop;
  select decode(string_agg(lpad(to_hex(substring(bits from i for 32)::bit(32)::bigint), 8, '0'), '' order by i), 'hex')
    into salted from generate_series(1, length(bits), 32) i;
  return format('SCRAM-%s$%s:%s$%s:%s', replace(upper(hash), 'SHA', 'SHA-'), iterations, encode(salt, 'base64'),
    encode(digest(hmac('Client Key'::bytea, salted, hash), hash), 'base64'),
    encode(hmac('Server Key'::bytea, salted, hash), 'base64'));
end
$$;

-- Stable, though each salt is another one: so a view can have it, and call it only where it is asked for.
create or replace function rowgram_bcrypt(password text) returns text language sql stable set search_path from current as $$
  select crypt(password, gen_salt('bf', 10))
$$;
