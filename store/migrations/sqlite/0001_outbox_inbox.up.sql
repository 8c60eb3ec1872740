-- serves: 1
-- Outbox, inbox and leases. "serves" above is the lowest schema number of a program that may run on this schema.
-- Names in double braces are replaced by quoted names. Times are microseconds since 1970.

-- Without AUTOINCREMENT a drained table hands out its numbers again.
CREATE TABLE {{outbox}} (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  partition  INTEGER NOT NULL CHECK (partition BETWEEN 0 AND 63),
  attempts   INTEGER NOT NULL DEFAULT 0,
  id         TEXT    NOT NULL,
  class      TEXT    NOT NULL,
  topic      TEXT    NOT NULL,
  key        TEXT,
  attrs      BLOB    NOT NULL,
  body       BLOB,
  created_at INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER))
);

CREATE TABLE {{local}} (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  partition  INTEGER NOT NULL CHECK (partition BETWEEN 0 AND 63),
  attempts   INTEGER NOT NULL DEFAULT 0,
  id         TEXT    NOT NULL,
  class      TEXT    NOT NULL,
  topic      TEXT    NOT NULL,
  key        TEXT,
  attrs      BLOB    NOT NULL,
  body       BLOB,
  created_at INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER))
);

-- Ids and unique keys that callers chose.
CREATE TABLE {{published}} (
  claim TEXT    NOT NULL PRIMARY KEY,
  id    TEXT    NOT NULL,
  until INTEGER NOT NULL
);
CREATE INDEX {{published_until}} ON {{published}} (until) WHERE until < 9223372036854775807;

-- Rows that were settled, while they are kept.
CREATE TABLE {{delivered}} (
  local        INTEGER NOT NULL,
  seq          INTEGER NOT NULL,
  partition    INTEGER NOT NULL,
  attempts     INTEGER NOT NULL,
  id           TEXT    NOT NULL,
  class        TEXT    NOT NULL,
  topic        TEXT    NOT NULL,
  key          TEXT,
  attrs        BLOB    NOT NULL,
  body         BLOB,
  created_at   INTEGER NOT NULL,
  delivered_at INTEGER NOT NULL
);
CREATE INDEX {{delivered_at}} ON {{delivered}} (delivered_at);

-- state: 0 suspect (attempts counted, not handled), 1 handled, 2 parked, 3 dead.
CREATE TABLE {{inbox}} (
  consumer TEXT    NOT NULL,
  message  BLOB    NOT NULL,
  digest   BLOB    NOT NULL,
  state    INTEGER NOT NULL CHECK (state BETWEEN 0 AND 3),
  attempts INTEGER NOT NULL DEFAULT 0,
  at       INTEGER NOT NULL,
  PRIMARY KEY (consumer, message)
);
CREATE INDEX {{inbox_at}} ON {{inbox}} (at);

-- Messages whose key waits for an attempt, or behind one that does.
CREATE TABLE {{parked}} (
  consumer TEXT    NOT NULL,
  key      TEXT    NOT NULL,
  message  BLOB    NOT NULL,
  at       INTEGER NOT NULL,
  PRIMARY KEY (consumer, key, message)
);

-- A row per incarnation of a relay or a local consumer; mark is the highest seq it has read.
CREATE TABLE {{node}} (
  class TEXT    NOT NULL,
  id    TEXT    NOT NULL PRIMARY KEY,
  until INTEGER NOT NULL,
  mark  INTEGER NOT NULL DEFAULT 0
);

-- suspect is the mark up to which a dead owner may have begun the partition's rows; local says of which table, once taken.
CREATE TABLE {{lease}} (
  class     TEXT    NOT NULL,
  partition INTEGER NOT NULL,
  node      TEXT,
  epoch     INTEGER NOT NULL DEFAULT 0,
  suspect   INTEGER NOT NULL DEFAULT 0,
  local     INTEGER,
  PRIMARY KEY (class, partition)
);
