-- serves: 1
-- Sagas: their instances, and the journal of what happened to each. Times are microseconds since 1970.

-- Of the instances of a saga and correlation key only the one with the highest generation may be open. status: 1 running,
-- 2 compensating, 3 completed, 4 failed, 5 compensated, 6 cancelled, 7 stuck. schema_version is that of state, which is JSON; timers is JSON
-- too: the messages in {{delayed}} for which it waits. ended_at is null unless nothing will change it any more.
CREATE TABLE {{saga}} (
  saga           TEXT    NOT NULL,
  correlation    TEXT    NOT NULL,
  generation     INTEGER NOT NULL,
  id             TEXT    NOT NULL,
  version        INTEGER NOT NULL,
  status         INTEGER NOT NULL CHECK (status BETWEEN 1 AND 7),
  schema_version INTEGER NOT NULL,
  step           TEXT    NOT NULL,
  state          BLOB    NOT NULL,
  timers         BLOB    NOT NULL,
  reason         TEXT    NOT NULL,
  started_at     INTEGER NOT NULL,
  changed_at     INTEGER NOT NULL,
  ended_at       INTEGER,
  PRIMARY KEY (saga, correlation, generation)
);
CREATE INDEX {{saga_ended}} ON {{saga}} (ended_at) WHERE ended_at IS NOT NULL;

-- kind: 1 a step, 2 one that failed, 3 a person. took is in microseconds, detail is JSON.
CREATE TABLE {{saga_step}} (
  n        INTEGER PRIMARY KEY AUTOINCREMENT,
  instance TEXT    NOT NULL,
  at       INTEGER NOT NULL,
  version  INTEGER NOT NULL,
  kind     INTEGER NOT NULL,
  step     TEXT    NOT NULL,
  message  TEXT    NOT NULL,
  took     INTEGER NOT NULL,
  detail   BLOB    NOT NULL
);
CREATE INDEX {{saga_step_instance}} ON {{saga_step}} (instance, n);
