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

-- Messages that a consumer could not handle yet, or never will. state: 1 waits, 2 dead. n is their order within a line;
-- line is null for a dead letter that holds nothing back. relay: a row that no broker takes, consumer is its class then.
CREATE TABLE {{parked}} (
  n           INTEGER PRIMARY KEY AUTOINCREMENT,
  line        INTEGER,
  state       INTEGER NOT NULL CHECK (state BETWEEN 1 AND 2),
  relay       INTEGER NOT NULL DEFAULT 0,
  consumer    TEXT    NOT NULL,
  message     BLOB    NOT NULL,
  digest      BLOB    NOT NULL,
  id          TEXT    NOT NULL,
  source      TEXT    NOT NULL,
  type        TEXT    NOT NULL,
  topic       TEXT    NOT NULL,
  key         TEXT,
  attrs       BLOB    NOT NULL,
  body        BLOB,
  damaged     TEXT,
  attempts    INTEGER NOT NULL,
  epoch       INTEGER NOT NULL DEFAULT 0,
  reason      TEXT    NOT NULL DEFAULT '',
  error       TEXT    NOT NULL DEFAULT '',
  node        TEXT    NOT NULL DEFAULT '',
  first_at    INTEGER NOT NULL,
  last_at     INTEGER NOT NULL
);
CREATE INDEX {{parked_line}} ON {{parked}} (line, n) WHERE line IS NOT NULL;
CREATE INDEX {{parked_message}} ON {{parked}} (consumer, message);
CREATE INDEX {{parked_id}} ON {{parked}} (id);
CREATE INDEX {{parked_dead}} ON {{parked}} (n) WHERE state = 2;
CREATE INDEX {{parked_dead_key}} ON {{parked}} (consumer, key, n) WHERE state = 2;

-- A key whose messages wait, or one message without a key. due is when the next attempt may be claimed: while it is
-- claimed the end of that, the largest number while its first message is dead. attempts were begun at the message called head.
CREATE TABLE {{line}} (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  consumer TEXT    NOT NULL,
  key      TEXT,
  due      INTEGER NOT NULL,
  token    TEXT,
  head     INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,
  size     INTEGER NOT NULL,
  UNIQUE (consumer, key)
);
CREATE INDEX {{line_due}} ON {{line}} (consumer, due);

-- Attempts that failed, of messages that are still parked.
CREATE TABLE {{attempt}} (
  n       INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  node    TEXT    NOT NULL,
  error   TEXT    NOT NULL
);
CREATE INDEX {{attempt_n}} ON {{attempt}} (n, at);

-- What people did to parked messages. before and after are JSON: the message as it was and as it is.
CREATE TABLE {{audit}} (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  at       INTEGER NOT NULL,
  who      TEXT    NOT NULL,
  action   TEXT    NOT NULL,
  run      TEXT    NOT NULL DEFAULT '',
  n        INTEGER NOT NULL,
  consumer TEXT    NOT NULL,
  message  TEXT    NOT NULL,
  reason   TEXT    NOT NULL DEFAULT '',
  before   BLOB,
  after    BLOB
);
CREATE INDEX {{audit_message}} ON {{audit}} (message);
CREATE INDEX {{audit_run}} ON {{audit}} (run, n) WHERE run <> '';

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
