-- serves: 1
-- Bodies that are too large for a broker (package claimcheck). "serves" above is the lowest schema number of a program that may run on
-- this schema.

-- A blob is rows of up to a mebibyte, written together. Part 0 stands for all of them: it says how young the blob is, and
-- who locks it may remove the others.
CREATE TABLE {{blob}} (
  name  text        COLLATE "C" NOT NULL,
  part  integer     NOT NULL,
  at    timestamptz NOT NULL DEFAULT now(),
  data  bytea       NOT NULL,
  PRIMARY KEY (name, part)
);
-- What is too large for a broker is mostly compressed already, and is read whole.
ALTER TABLE {{blob}} ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX {{bare blob_at}} ON {{blob}} (at) WHERE part = 0;
