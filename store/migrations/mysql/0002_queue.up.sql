-- serves: 1
-- The database as a broker: topics, the groups that want their messages, and a row for each message and group.

-- Who sends to a topic, or changes its groups, holds its row here until its transaction has ended. stamp is another one
-- after each change of the groups, so that who remembers them learns of it in the statement that sends.
CREATE TABLE {{queue_topic}} (
  topic varbinary(1024) NOT NULL,
  stamp bigint          NOT NULL,
  PRIMARY KEY (topic)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- Who gets what is sent to a topic. kind: 1 a group, 2 a copy for one process, which goes when its node has gone, 3 what
-- is kept of the topic for groups that come later, for keep microseconds. leaving: not 0 but its id once nothing is
-- written for it any more, and its rows are being removed.
CREATE TABLE {{queue_group}} (
  id      bigint          NOT NULL AUTO_INCREMENT,
  topic   varbinary(1024) NOT NULL,
  name    varbinary(1024) NOT NULL,
  kind    tinyint         NOT NULL,
  leaving bigint          NOT NULL DEFAULT 0,
  keep    bigint          NOT NULL DEFAULT 2592000000000, -- 30 days
  made_at bigint          NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))),
  PRIMARY KEY (id),
  UNIQUE KEY {{bare queue_group_name}} (topic, kind, name, leaving)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;

-- class is the id of a group. Who writes holds the row of the topic, so that the rows of a class become visible in the
-- order of their numbers: a reader has no gaps to watch. The second key is there because AUTO_INCREMENT needs one.
CREATE TABLE {{queue}} (
  class       bigint          NOT NULL,
  seq         bigint          NOT NULL AUTO_INCREMENT,
  `partition` smallint        NOT NULL,
  attempts    smallint        NOT NULL DEFAULT 0,
  id          varbinary(1024) NOT NULL,
  `key`       mediumblob,
  attrs       mediumblob      NOT NULL,
  body        longblob,
  created_at  bigint          NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))),
  PRIMARY KEY (class, seq),
  KEY {{bare queue_seq}} (seq)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
