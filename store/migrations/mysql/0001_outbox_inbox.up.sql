-- serves: 1
-- Outbox, inbox and leases. "serves" above is the lowest schema number of a program that may run on this schema.
-- Names in double braces are replaced by quoted names. Times are microseconds since 1970, in UTC whatever zone a session
-- has. Text is in binary columns: it is compared byte by byte, and a blank at its end counts.

-- The primary key is the only index of the two hot tables. attempts has no default, so that an INSERT that forgets to
-- take a place at the gate fails.
CREATE TABLE {{outbox}} (
  seq         bigint          NOT NULL AUTO_INCREMENT,
  `partition` smallint        NOT NULL,
  attempts    smallint        NOT NULL,
  id          varbinary(36)   NOT NULL,
  class       varbinary(255)  NOT NULL,
  topic       varbinary(1024) NOT NULL,
  `key`       varbinary(2048),
  attrs       mediumblob      NOT NULL,
  body        longblob,
  created_at  bigint          NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))),
  PRIMARY KEY (seq)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

CREATE TABLE {{local}} (
  seq         bigint          NOT NULL AUTO_INCREMENT,
  `partition` smallint        NOT NULL,
  attempts    smallint        NOT NULL,
  id          varbinary(36)   NOT NULL,
  class       varbinary(255)  NOT NULL,
  topic       varbinary(1024) NOT NULL,
  `key`       varbinary(2048),
  attrs       mediumblob      NOT NULL,
  body        longblob,
  created_at  bigint          NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))),
  PRIMARY KEY (seq)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Whoever inserts into a hot table first locks one of its slots here in share mode, the statement's own subquery does, and
-- keeps it until its transaction has ended: slots 0 to 31 for {{outbox}}, 32 to 63 for {{local}}. So a relay learns without
-- privileges whether somebody who may have drawn a number is still at work.
CREATE TABLE {{gate}} (
  slot    smallint NOT NULL,
  nothing smallint NOT NULL DEFAULT 0,
  PRIMARY KEY (slot)
) ENGINE = InnoDB;
INSERT INTO {{gate}} (slot) VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11), (12), (13), (14), (15), (16), (17), (18), (19), (20), (21), (22), (23), (24), (25), (26), (27), (28), (29), (30), (31), (32), (33), (34), (35), (36), (37), (38), (39), (40), (41), (42), (43), (44), (45), (46), (47), (48), (49), (50), (51), (52), (53), (54), (55), (56), (57), (58), (59), (60), (61), (62), (63);

-- Ids and unique keys that callers chose, and marks of transactions whose outcome may be asked for. stamp is of the call that
-- entered a claim.
CREATE TABLE {{published}} (
  claim varbinary(1100) NOT NULL,
  id    varbinary(36)   NOT NULL,
  until bigint          NOT NULL,
  stamp bigint          NOT NULL,
  PRIMARY KEY (claim),
  KEY {{bare published_until}} (until)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Rows that were settled, while they are kept. seq is not unique here: a table may be made anew.
CREATE TABLE {{delivered}} (
  n            bigint          NOT NULL AUTO_INCREMENT,
  local        boolean         NOT NULL,
  seq          bigint          NOT NULL,
  `partition`  smallint        NOT NULL,
  attempts     smallint        NOT NULL,
  id           varbinary(36)   NOT NULL,
  class        varbinary(255)  NOT NULL,
  topic        varbinary(1024) NOT NULL,
  `key`        varbinary(2048),
  attrs        mediumblob      NOT NULL,
  body         longblob,
  created_at   bigint          NOT NULL,
  delivered_at bigint          NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))),
  PRIMARY KEY (n),
  KEY {{bare delivered_at}} (delivered_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- state: 0 suspect (attempts counted, not handled), 1 handled, 2 parked, 3 dead.
CREATE TABLE {{inbox}} (
  consumer varbinary(255) NOT NULL,
  message  binary(16)     NOT NULL,
  digest   binary(16)     NOT NULL,
  state    tinyint        NOT NULL,
  attempts smallint       NOT NULL DEFAULT 0,
  at       bigint         NOT NULL,
  PRIMARY KEY (consumer, message),
  KEY {{bare inbox_at}} (at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Messages that a consumer could not handle yet, or never will. state: 1 waits, 2 dead. n is their order within a line;
-- line is null for a dead letter that holds nothing back. relay: a row that no broker takes, consumer is its class then.
CREATE TABLE {{parked}} (
  n           bigint          NOT NULL AUTO_INCREMENT,
  line        bigint,
  state       tinyint         NOT NULL,
  relay       boolean         NOT NULL DEFAULT 0,
  consumer    varbinary(255)  NOT NULL,
  message     binary(16)      NOT NULL,
  digest      binary(16)      NOT NULL,
  id          mediumblob      NOT NULL,
  source      mediumblob      NOT NULL,
  type        mediumblob      NOT NULL,
  topic       mediumblob      NOT NULL,
  `key`       varbinary(2048),
  attrs       mediumblob      NOT NULL,
  body        longblob,
  damaged     mediumblob,
  attempts    int             NOT NULL,
  epoch       int             NOT NULL DEFAULT 0,
  reason      varbinary(255)  NOT NULL DEFAULT '',
  error       mediumblob      NOT NULL,
  node        varbinary(1024) NOT NULL DEFAULT '',
  first_at    bigint          NOT NULL,
  last_at     bigint          NOT NULL,
  PRIMARY KEY (n),
  KEY {{bare parked_line}} (line, n),
  KEY {{bare parked_message}} (consumer, message),
  KEY {{bare parked_id}} (id(255)),
  KEY {{bare parked_dead}} (state, n),
  KEY {{bare parked_dead_key}} (consumer, `key`, n)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- A key whose messages wait, or one message without a key. due is when the next attempt may be claimed: while it is
-- claimed the end of that, the largest number while its first message is dead. attempts were begun at the message called head.
CREATE TABLE {{line}} (
  id       bigint          NOT NULL AUTO_INCREMENT,
  consumer varbinary(255)  NOT NULL,
  `key`    varbinary(2048),
  due      bigint          NOT NULL,
  token    varbinary(36),
  head     bigint,
  attempts int             NOT NULL DEFAULT 0,
  size     int             NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY {{bare line_key}} (consumer, `key`),
  KEY {{bare line_due}} (consumer, due)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Attempts that failed, of messages that are still parked.
CREATE TABLE {{attempt}} (
  id      bigint          NOT NULL AUTO_INCREMENT,
  n       bigint          NOT NULL,
  attempt int             NOT NULL,
  at      bigint          NOT NULL,
  node    varbinary(1024) NOT NULL,
  error   mediumblob      NOT NULL,
  PRIMARY KEY (id),
  KEY {{bare attempt_n}} (n, at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- What people did to parked messages. before and after are JSON: the message as it was and as it is.
CREATE TABLE {{audit}} (
  id       bigint         NOT NULL AUTO_INCREMENT,
  at       bigint         NOT NULL,
  who      mediumblob     NOT NULL,
  action   varbinary(255) NOT NULL,
  run      varbinary(255) NOT NULL DEFAULT '',
  n        bigint         NOT NULL,
  consumer varbinary(255) NOT NULL,
  message  mediumblob     NOT NULL,
  reason   mediumblob     NOT NULL,
  `before` longblob,
  after    longblob,
  PRIMARY KEY (id),
  KEY {{bare audit_message}} (message(255)),
  KEY {{bare audit_run}} (run, n)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- A row per incarnation of a relay or a local consumer; mark is the highest seq it has read.
CREATE TABLE {{node}} (
  class varbinary(255) NOT NULL,
  id    varbinary(36)  NOT NULL,
  until bigint         NOT NULL,
  mark  bigint         NOT NULL DEFAULT 0,
  PRIMARY KEY (id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- suspect is the mark up to which a dead owner may have begun the partition's rows; local says of which table, once taken.
CREATE TABLE {{lease}} (
  class       varbinary(255) NOT NULL,
  `partition` smallint       NOT NULL,
  node        varbinary(36),
  epoch       bigint         NOT NULL DEFAULT 0,
  suspect     bigint         NOT NULL DEFAULT 0,
  local       boolean,
  PRIMARY KEY (class, `partition`)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
