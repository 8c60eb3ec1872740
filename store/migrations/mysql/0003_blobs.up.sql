-- serves: 1
-- Bodies that are too large for a broker (package claimcheck). "serves" above is the lowest schema number of a program that may run on
-- this schema. Times are microseconds since 1970.

-- A blob is rows of up to a mebibyte, written together. Part 0 stands for all of them: it says how young the blob is, and
-- who locks it may remove the others.
CREATE TABLE {{blob}} (
  name varbinary(1024) NOT NULL,
  part int             NOT NULL,
  at   bigint          NOT NULL DEFAULT (TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))),
  data mediumblob      NOT NULL,
  PRIMARY KEY (name, part),
  KEY {{bare blob_at}} (part, at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC;
