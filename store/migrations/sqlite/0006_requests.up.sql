-- serves: 1
-- Requests and replies between processes, and the answers that are kept for requests that come again. Times are microseconds since 1970.

-- What waits for who listens at an address. A row is read once, and removed by that.
CREATE TABLE {{request}} (
  n          INTEGER PRIMARY KEY AUTOINCREMENT,
  address    TEXT    NOT NULL,
  head       BLOB    NOT NULL,
  body       BLOB,
  sent_at    INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
);
CREATE INDEX {{request_address}} ON {{request}} (address, n);
CREATE INDEX {{request_expires}} ON {{request}} (expires_at);

-- Who listens where. A place is a caller's port or a responder's ear, and is there until its time.
CREATE TABLE {{request_place}} (
  place   TEXT    NOT NULL,
  address TEXT    NOT NULL,
  until   INTEGER NOT NULL,
  PRIMARY KEY (place, address)
);
CREATE INDEX {{request_place_address}} ON {{request_place}} (address);

-- Answers. message is the first 16 bytes of SHA-256 over type, NUL, issuer, NUL and id, digest those over the body. Without a
-- content type the answer is being made.
CREATE TABLE {{answer}} (
  message      BLOB    NOT NULL PRIMARY KEY,
  digest       BLOB    NOT NULL,
  content_type TEXT    NOT NULL,
  body         BLOB,
  at           INTEGER NOT NULL
);
CREATE INDEX {{answer_at}} ON {{answer}} (at);
