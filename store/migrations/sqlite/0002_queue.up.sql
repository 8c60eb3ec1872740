-- serves: 1
-- The database as a broker: topics, the groups that want their messages, and a row for each message and group.

-- Who gets what is sent to a topic. kind: 1 a group, 2 a copy for one process, which goes when its node has gone, 3 what
-- is kept of the topic for groups that come later, for keep microseconds. leaving: nothing is written for it any more, and
-- its rows are being removed.
CREATE TABLE {{queue_group}} (
  id      INTEGER PRIMARY KEY AUTOINCREMENT,
  topic   TEXT    NOT NULL,
  name    TEXT    NOT NULL,
  kind    INTEGER NOT NULL CHECK (kind BETWEEN 1 AND 3),
  leaving INTEGER NOT NULL DEFAULT 0,
  keep    INTEGER NOT NULL DEFAULT 2592000000000, -- 30 days
  made_at INTEGER NOT NULL
);
CREATE UNIQUE INDEX {{queue_group_name}} ON {{queue_group}} (topic, kind, name) WHERE leaving = 0;

-- class is the id of a group.
CREATE TABLE {{queue}} (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  class      INTEGER NOT NULL,
  partition  INTEGER NOT NULL CHECK (partition BETWEEN 0 AND 63),
  attempts   INTEGER NOT NULL DEFAULT 0,
  id         TEXT    NOT NULL,
  key        TEXT,
  attrs      BLOB    NOT NULL,
  body       BLOB,
  created_at INTEGER NOT NULL
);
CREATE INDEX {{queue_class}} ON {{queue}} (class, seq);
