-- serves: 1
-- Requests and replies between processes, and the answers that are kept for requests that come again.

-- What waits for who listens at an address. A row is read once, and removed by that.
CREATE TABLE {{request}} (
  n          bigint      GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {{request_seq}} CACHE 1),
  address    text        NOT NULL,
  head       bytea       NOT NULL,
  body       bytea,
  sent_at    timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  CONSTRAINT {{bare request_pkey}} PRIMARY KEY (n)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX {{bare request_address}} ON {{request}} (address, n);
CREATE INDEX {{bare request_expires}} ON {{request}} (expires_at);

-- Who listens where. A place is a caller's port or a responder's ear, and is there until its time.
CREATE TABLE {{request_place}} (
  place   text        NOT NULL,
  address text        NOT NULL,
  until   timestamptz NOT NULL,
  CONSTRAINT {{bare request_place_pkey}} PRIMARY KEY (place, address)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX {{bare request_place_address}} ON {{request_place}} (address);

-- Answers. message is the first 16 bytes of SHA-256 over type, NUL, issuer, NUL and id, digest those over the body. Without a
-- content type the answer is being made.
CREATE TABLE {{answer}} (
  message      bytea       NOT NULL,
  digest       bytea       NOT NULL,
  content_type text        NOT NULL,
  body         bytea,
  at           timestamptz NOT NULL,
  CONSTRAINT {{bare answer_pkey}} PRIMARY KEY (message)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX {{bare answer_at}} ON {{answer}} (at);
