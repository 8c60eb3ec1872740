-- serves: 1
-- Sagas: their instances, and the journal of what happened to each. Times are microseconds since 1970.

-- Of the instances of a saga and correlation key only the one with the highest generation may be open. status: 1 running,
-- 2 compensating, 3 completed, 4 failed, 5 compensated, 6 cancelled, 7 stuck. schema_version is that of state, which is JSON; timers is JSON
-- too: the messages in {{delayed}} for which it waits. ended_at is null unless nothing will change it any more.
CREATE TABLE {{saga}} (
  saga           varbinary(255)  NOT NULL,
  correlation    varbinary(255)  NOT NULL,
  generation     int             NOT NULL,
  id             varbinary(36)   NOT NULL,
  version        bigint          NOT NULL,
  status         tinyint         NOT NULL,
  schema_version int             NOT NULL,
  step           varbinary(255)  NOT NULL,
  state          mediumblob      NOT NULL,
  timers         mediumblob      NOT NULL,
  reason         varbinary(4096) NOT NULL,
  started_at     bigint          NOT NULL,
  changed_at     bigint          NOT NULL,
  ended_at       bigint,
  PRIMARY KEY (saga, correlation, generation),
  KEY {{bare saga_ended}} (ended_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- kind: 1 a step, 2 one that failed, 3 a person. took is in microseconds, detail is JSON.
CREATE TABLE {{saga_step}} (
  n        bigint         NOT NULL AUTO_INCREMENT,
  instance varbinary(36)  NOT NULL,
  at       bigint         NOT NULL,
  version  bigint         NOT NULL,
  kind     tinyint        NOT NULL,
  step     varbinary(255) NOT NULL,
  message  varbinary(1024) NOT NULL,
  took     bigint         NOT NULL,
  detail   mediumblob     NOT NULL,
  PRIMARY KEY (n),
  KEY {{bare saga_step_instance}} (instance, n)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
