-- serves: 1
-- Bodies that are too large for a broker (package claimcheck). "serves" above is the lowest schema number of a program that may run on
-- this schema. Times are microseconds since 1970.

-- A blob is rows of up to a mebibyte, written together. Part 0 says how young the blob is.
CREATE TABLE {{blob}} (
  name  TEXT    NOT NULL,
  part  INTEGER NOT NULL,
  at    INTEGER NOT NULL,
  data  BLOB    NOT NULL,
  PRIMARY KEY (name, part)
);
CREATE INDEX {{blob_at}} ON {{blob}} (at) WHERE part = 0;
