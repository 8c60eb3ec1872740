-- serves: 1
-- Messages that wait for their time, and recurring schedules. Times are microseconds since 1970.

-- Rows that move into {{outbox}}, or if local into {{local}}, when they are due.
CREATE TABLE {{delayed}} (
  n          INTEGER PRIMARY KEY AUTOINCREMENT,
  due_at     INTEGER NOT NULL,
  local      INTEGER NOT NULL,
  partition  INTEGER NOT NULL CHECK (partition BETWEEN 0 AND 63),
  id         TEXT    NOT NULL,
  class      TEXT    NOT NULL,
  topic      TEXT    NOT NULL,
  key        TEXT,
  attrs      BLOB    NOT NULL,
  body       BLOB,
  created_at INTEGER NOT NULL
);
CREATE INDEX {{delayed_due}} ON {{delayed}} (due_at, n);
CREATE INDEX {{delayed_id}} ON {{delayed}} (id);

-- Which messages were moved, for a time: ids has those of one transaction.
CREATE TABLE {{promoted}} (
  at  INTEGER NOT NULL,
  ids TEXT    NOT NULL
);
CREATE INDEX {{promoted_at}} ON {{promoted}} (at);

-- state: 1 active, 2 paused, 3 finished, 4 removed. definition is JSON: all that the caller said, and the message. next_due is
-- the planned time of the next occurrence, wake_at when to look at it. last_id is the message of the last one, and is found
-- among the local rows with a seq behind last_from and up to last_to.
CREATE TABLE {{schedule}} (
  name       TEXT    NOT NULL PRIMARY KEY,
  spec       TEXT    NOT NULL,
  zone       TEXT    NOT NULL,
  definition BLOB    NOT NULL,
  owner      TEXT    NOT NULL,
  state      INTEGER NOT NULL CHECK (state BETWEEN 1 AND 4),
  runs       INTEGER NOT NULL,
  next_due   INTEGER,
  wake_at    INTEGER,
  last_due   INTEGER,
  last_id    TEXT    NOT NULL,
  last_from  INTEGER NOT NULL,
  last_to    INTEGER NOT NULL,
  no_overlap INTEGER NOT NULL,
  problem    TEXT    NOT NULL,
  changed_at INTEGER NOT NULL
);
CREATE INDEX {{schedule_wake}} ON {{schedule}} (wake_at) WHERE wake_at IS NOT NULL;

-- Occurrences. outcome: 1 begun, 2 misfired, 3 overlapped, 4 triggered by hand, 5 failed. The key is why one happens once.
CREATE TABLE {{tick}} (
  schedule    TEXT    NOT NULL,
  planned     INTEGER NOT NULL,
  promoted_at INTEGER NOT NULL,
  outcome     INTEGER NOT NULL,
  id          TEXT    NOT NULL,
  missed      INTEGER NOT NULL,
  local       INTEGER NOT NULL,
  relayed     INTEGER NOT NULL,
  note        TEXT    NOT NULL,
  PRIMARY KEY (schedule, planned)
);
CREATE INDEX {{tick_promoted}} ON {{tick}} (promoted_at);
