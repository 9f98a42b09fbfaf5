authentication = "internal_hashed"
storage = { accounts = "sql" }
-- With the keys of SCRAM-SHA-256: password_hash = "SHA-256"
sql_manage_tables = false
sql = {
  driver = "PostgreSQL";
  host = "127.0.0.1";
  port = 5432;
  database = "app";
  username = "prosody";
  password = "secret";
}
