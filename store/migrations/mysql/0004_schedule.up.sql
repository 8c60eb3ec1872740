-- serves: 1
-- Messages that wait for their time, and recurring schedules. Times are microseconds since 1970.

-- Rows that move into {{outbox}}, or if local into {{local}}, when they are due.
CREATE TABLE {{delayed}} (
  n           bigint          NOT NULL AUTO_INCREMENT,
  due_at      bigint          NOT NULL,
  local       boolean         NOT NULL,
  `partition` smallint        NOT NULL,
  id          varbinary(36)   NOT NULL,
  class       varbinary(255)  NOT NULL,
  topic       varbinary(1024) NOT NULL,
  `key`       varbinary(2048),
  attrs       mediumblob      NOT NULL,
  body        longblob,
  created_at  bigint          NOT NULL,
  PRIMARY KEY (n),
  KEY {{bare delayed_due}} (due_at, n),
  KEY {{bare delayed_id}} (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Which messages were moved, for a time: ids has those of one transaction.
CREATE TABLE {{promoted}} (
  n   bigint     NOT NULL AUTO_INCREMENT,
  at  bigint     NOT NULL,
  ids mediumblob NOT NULL,
  PRIMARY KEY (n),
  KEY {{bare promoted_at}} (at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- state: 1 active, 2 paused, 3 finished, 4 removed. definition is JSON: all that the caller said, and the message. next_due is
-- the planned time of the next occurrence, wake_at when to look at it. last_id is the message of the last one, and is found
-- among the local rows with a seq behind last_from and up to last_to.
CREATE TABLE {{schedule}} (
  name       varbinary(255)  NOT NULL,
  spec       varbinary(1024) NOT NULL,
  zone       varbinary(255)  NOT NULL,
  definition mediumblob      NOT NULL,
  owner      varbinary(255)  NOT NULL,
  state      tinyint         NOT NULL,
  runs       bigint          NOT NULL,
  next_due   bigint,
  wake_at    bigint,
  last_due   bigint,
  last_id    varbinary(36)   NOT NULL,
  last_from  bigint          NOT NULL,
  last_to    bigint          NOT NULL,
  no_overlap boolean         NOT NULL,
  problem    varbinary(4096) NOT NULL,
  changed_at bigint          NOT NULL,
  PRIMARY KEY (name),
  KEY {{bare schedule_wake}} (wake_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Occurrences. outcome: 1 begun, 2 misfired, 3 overlapped, 4 triggered by hand, 5 failed. The key is why one happens once.
CREATE TABLE {{tick}} (
  schedule    varbinary(255)  NOT NULL,
  planned     bigint          NOT NULL,
  promoted_at bigint          NOT NULL,
  outcome     tinyint         NOT NULL,
  id          varbinary(36)   NOT NULL,
  missed      int             NOT NULL,
  local       boolean         NOT NULL,
  relayed     boolean         NOT NULL,
  note        varbinary(4096) NOT NULL,
  PRIMARY KEY (schedule, planned),
  KEY {{bare tick_promoted}} (promoted_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Who moves what is due holds this slot: only what one transaction at a time moves is in order.
INSERT INTO {{gate}} (slot) VALUES (100);
