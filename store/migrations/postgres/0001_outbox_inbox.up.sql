-- serves: 1
-- Outbox, inbox and leases. "serves" above is the lowest schema number of a program that may run on this schema.
-- Names in double braces are replaced by quoted names; the schema itself is there before the first migration runs.

-- The primary key is the only index of the two hot tables: a second one costs a fifth of the rate. CACHE 1 is a
-- condition of the relay's gap rule: a cached sequence gives an old number to a later transaction. Readers take the
-- partition modulo 64, so that every row has an owner; a CHECK would be a thirtieth of what publishing costs.
CREATE TABLE {{outbox}} (
  seq        bigint      GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {{outbox_seq}} CACHE 1),
  partition  smallint    NOT NULL,
  attempts   smallint    NOT NULL DEFAULT 0,
  id         uuid        NOT NULL,
  class      text        NOT NULL,
  topic      text        NOT NULL,
  key        text,
  attrs      bytea       NOT NULL,
  body       bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT {{bare outbox_pkey}} PRIMARY KEY (seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE {{local}} (
  seq        bigint      GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {{local_seq}} CACHE 1),
  partition  smallint    NOT NULL,
  attempts   smallint    NOT NULL DEFAULT 0,
  id         uuid        NOT NULL,
  class      text        NOT NULL,
  topic      text        NOT NULL,
  key        text,
  attrs      bytea       NOT NULL,
  body       bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT {{bare local_pkey}} PRIMARY KEY (seq)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);

-- Ids and unique keys that callers chose.
CREATE TABLE {{published}} (
  claim text        NOT NULL,
  id    uuid        NOT NULL,
  until timestamptz NOT NULL,
  CONSTRAINT {{bare published_pkey}} PRIMARY KEY (claim)
);
CREATE INDEX {{bare published_until}} ON {{published}} (until) WHERE until < 'infinity';

-- Rows that were settled, while they are kept. No key is unique here: a sequence may be reset.
CREATE TABLE {{delivered}} (
  local        boolean     NOT NULL,
  seq          bigint      NOT NULL,
  partition    smallint    NOT NULL,
  attempts     smallint    NOT NULL,
  id           uuid        NOT NULL,
  class        text        NOT NULL,
  topic        text        NOT NULL,
  key          text,
  attrs        bytea       NOT NULL,
  body         bytea,
  created_at   timestamptz NOT NULL,
  delivered_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX {{bare delivered_at}} ON {{delivered}} (delivered_at);

-- state: 0 suspect (attempts counted, not handled), 1 handled, 2 parked, 3 dead.
CREATE TABLE {{inbox}} (
  consumer text        NOT NULL,
  message  bytea       NOT NULL,
  digest   bytea       NOT NULL,
  state    smallint    NOT NULL CHECK (state BETWEEN 0 AND 3),
  attempts smallint    NOT NULL DEFAULT 0,
  at       timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT {{bare inbox_pkey}} PRIMARY KEY (consumer, message)
);
CREATE INDEX {{bare inbox_at}} ON {{inbox}} (at);

-- Messages that a consumer could not handle yet, or never will. state: 1 waits, 2 dead. n is their order within a line;
-- line is null for a dead letter that holds nothing back. relay: a row that no broker takes, consumer is its class then.
CREATE TABLE {{parked}} (
  n           bigint      GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {{parked_seq}} CACHE 1),
  line        bigint,
  state       smallint    NOT NULL CHECK (state BETWEEN 1 AND 2),
  relay       boolean     NOT NULL DEFAULT false,
  consumer    text        NOT NULL,
  message     bytea       NOT NULL,
  digest      bytea       NOT NULL,
  id          text        NOT NULL,
  source      text        NOT NULL,
  type        text        NOT NULL,
  topic       text        NOT NULL,
  key         text,
  attrs       bytea       NOT NULL,
  body        bytea,
  damaged     text,
  attempts    integer     NOT NULL,
  epoch       integer     NOT NULL DEFAULT 0,
  reason      text        NOT NULL DEFAULT '',
  error       text        NOT NULL DEFAULT '',
  node        text        NOT NULL DEFAULT '',
  first_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  CONSTRAINT {{bare parked_pkey}} PRIMARY KEY (n)
);
CREATE INDEX {{bare parked_line}} ON {{parked}} (line, n) WHERE line IS NOT NULL;
CREATE INDEX {{bare parked_message}} ON {{parked}} (consumer, message);
CREATE INDEX {{bare parked_id}} ON {{parked}} (id);
CREATE INDEX {{bare parked_dead}} ON {{parked}} (n) WHERE state = 2;

-- A key whose messages wait, or one message without a key. due is when the next attempt may be claimed: while it is
-- claimed the end of that, infinity while its first message is dead. attempts were begun at the message called head.
CREATE TABLE {{line}} (
  id       bigint      GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {{line_seq}} CACHE 1),
  consumer text        NOT NULL,
  key      text,
  due      timestamptz NOT NULL,
  token    uuid,
  head     bigint,
  attempts integer     NOT NULL DEFAULT 0,
  size     integer     NOT NULL,
  CONSTRAINT {{bare line_pkey}} PRIMARY KEY (id),
  CONSTRAINT {{bare line_key}} UNIQUE (consumer, key)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX {{bare line_due}} ON {{line}} (consumer, due);

-- Attempts that failed, of messages that are still parked.
CREATE TABLE {{attempt}} (
  n       bigint      NOT NULL,
  attempt integer     NOT NULL,
  at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  node    text        NOT NULL,
  error   text        NOT NULL
);
CREATE INDEX {{bare attempt_n}} ON {{attempt}} (n, at);

-- What people did to parked messages. before and after are JSON: the message as it was and as it is.
CREATE TABLE {{audit}} (
  id       bigint      GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {{audit_seq}} CACHE 1),
  at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  who      text        NOT NULL,
  action   text        NOT NULL,
  run      text        NOT NULL DEFAULT '',
  n        bigint      NOT NULL,
  consumer text        NOT NULL,
  message  text        NOT NULL,
  reason   text        NOT NULL DEFAULT '',
  before   bytea,
  after    bytea,
  CONSTRAINT {{bare audit_pkey}} PRIMARY KEY (id)
);
CREATE INDEX {{bare audit_message}} ON {{audit}} (message);
CREATE INDEX {{bare audit_run}} ON {{audit}} (run, n) WHERE run <> '';

-- A row per incarnation of a relay or a local consumer; mark is the highest seq it has read.
CREATE TABLE {{node}} (
  class text        NOT NULL,
  id    uuid        NOT NULL,
  until timestamptz NOT NULL,
  mark  bigint      NOT NULL DEFAULT 0,
  CONSTRAINT {{bare node_pkey}} PRIMARY KEY (id)
) WITH (fillfactor = 50);

-- suspect is the mark up to which a dead owner may have begun the partition's rows; local says of which table, once taken.
CREATE TABLE {{lease}} (
  class     text     NOT NULL,
  partition smallint NOT NULL,
  node      uuid,
  epoch     bigint   NOT NULL DEFAULT 0,
  suspect   bigint   NOT NULL DEFAULT 0,
  local     boolean,
  CONSTRAINT {{bare lease_pkey}} PRIMARY KEY (class, partition)
) WITH (fillfactor = 50);

-- Functions of {{outbox}}. id is empty for a row of somebody else, which is answered for its number. They exist for their SET clauses: prepared on an empty table these statements are planned as
-- sequential scans and then walk every dead row until the next ANALYZE. A function brings its settings along through
-- any library, in one statement.
CREATE FUNCTION {{outbox_read}}(after_seq bigint, max_rows integer, of_class text, own bigint)
  RETURNS TABLE (seq bigint, partition smallint, attempts smallint, id text, topic text, key text, attrs bytea, body bytea)
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT o.seq, (o.partition & 63)::smallint, o.attempts, CASE WHEN o.mine THEN o.id::text ELSE '' END, CASE WHEN o.mine THEN o.topic ELSE '' END, CASE WHEN o.mine THEN coalesce(o.key, '') ELSE '' END,
      CASE WHEN o.mine THEN o.attrs END, CASE WHEN o.mine THEN o.body END
    FROM (SELECT i.*, i.class = of_class AND (own >> (i.partition & 63)) & 1 = 1 AS mine FROM {{outbox}} i
      WHERE i.seq > after_seq ORDER BY i.seq LIMIT max_rows) o ORDER BY o.seq;
END
$sixfold$;

-- STABLE makes both statements see one snapshot, or the second could answer fewer rows than the first had found, and a full
-- result would look like a complete one.
CREATE FUNCTION {{outbox_look_up}}(singles bigint[], froms bigint[], tos bigint[], max_rows integer, of_class text, own bigint)
  RETURNS TABLE (seq bigint, partition smallint, attempts smallint, id text, topic text, key text, attrs bytea, body bytea)
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
BEGIN
  IF singles IS NULL THEN
    singles := ARRAY(SELECT s.seq FROM unnest(froms, tos) r(f, t)
      CROSS JOIN LATERAL (SELECT i.seq FROM {{outbox}} i WHERE i.seq BETWEEN r.f AND r.t ORDER BY i.seq LIMIT max_rows) s
      ORDER BY s.seq LIMIT max_rows);
  END IF;
  RETURN QUERY SELECT o.seq, (o.partition & 63)::smallint, o.attempts, CASE WHEN o.mine THEN o.id::text ELSE '' END, CASE WHEN o.mine THEN o.topic ELSE '' END, CASE WHEN o.mine THEN coalesce(o.key, '') ELSE '' END,
      CASE WHEN o.mine THEN o.attrs END, CASE WHEN o.mine THEN o.body END
    FROM (SELECT i.*, i.class = of_class AND (own >> (i.partition & 63)) & 1 = 1 AS mine FROM {{outbox}} i
      WHERE i.seq = ANY(singles) ORDER BY i.seq LIMIT max_rows) o ORDER BY o.seq;
END
$sixfold$;

-- Answers the number of rows that were there, -1 when the node is gone. The node is looked at in the statement that
-- deletes: a take-over removes its row first.
CREATE FUNCTION {{outbox_settle}}(by_node uuid, seqs bigint[], keep boolean) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
DECLARE n integer;
BEGIN
  IF keep THEN
    WITH d AS (DELETE FROM {{outbox}} o WHERE o.seq = ANY(seqs) AND EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = by_node) RETURNING o.*)
    INSERT INTO {{delivered}} (local, seq, partition, attempts, id, class, topic, key, attrs, body, created_at)
      SELECT false, d.seq, d.partition, d.attempts, d.id, d.class, d.topic, d.key, d.attrs, d.body, d.created_at FROM d;
  ELSE
    DELETE FROM {{outbox}} o WHERE o.seq = ANY(seqs) AND EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = by_node);
  END IF;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n = 0 AND NOT EXISTS (SELECT 1 FROM {{node}} d WHERE d.id = by_node) THEN
    RETURN -1;
  END IF;
  RETURN n;
END
$sixfold$;

-- Settle for a handler's own transaction: answers which rows were there, or -1 alone when the node is gone. What goes to a
-- broker is behind nothing.
CREATE FUNCTION {{outbox_claim}}(by_node uuid, seqs bigint[], keep boolean) RETURNS TABLE (seq bigint, behind boolean)
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
BEGIN
  IF keep THEN
    RETURN QUERY
    WITH d AS (DELETE FROM {{outbox}} o WHERE o.seq = ANY(seqs) AND EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = by_node) RETURNING o.*)
    INSERT INTO {{delivered}} (local, seq, partition, attempts, id, class, topic, key, attrs, body, created_at)
      SELECT false, d.seq, d.partition, d.attempts, d.id, d.class, d.topic, d.key, d.attrs, d.body, d.created_at FROM d
      RETURNING seq, false;
  ELSE
    RETURN QUERY DELETE FROM {{outbox}} o WHERE o.seq = ANY(seqs) AND EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = by_node) RETURNING o.seq, false;
  END IF;
  IF NOT FOUND AND NOT EXISTS (SELECT 1 FROM {{node}} d WHERE d.id = by_node) THEN
    RETURN QUERY SELECT -1::bigint, false;
  END IF;
END
$sixfold$;

-- One more attempt for the rows that a dead owner may have begun: those of class up to suspects[partition + 1]. A row that
-- an open transaction holds is skipped: its handler has not ended, and waiting for it would hold up the take-over.
CREATE FUNCTION {{outbox_count_suspects}}(of_class text, suspects bigint[], highest bigint) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
BEGIN
  UPDATE {{outbox}} o SET attempts = least(o.attempts + 1, 32767) WHERE o.seq = ANY(ARRAY(
    SELECT s.seq FROM {{outbox}} s WHERE s.seq <= highest AND s.class = of_class AND s.seq <= suspects[(s.partition & 63) + 1]
    ORDER BY s.seq FOR UPDATE SKIP LOCKED));
END
$sixfold$;

-- The same for {{local}}.
CREATE FUNCTION {{local_read}}(after_seq bigint, max_rows integer, of_class text, own bigint)
  RETURNS TABLE (seq bigint, partition smallint, attempts smallint, id text, topic text, key text, attrs bytea, body bytea)
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT o.seq, (o.partition & 63)::smallint, o.attempts, CASE WHEN o.mine THEN o.id::text ELSE '' END, CASE WHEN o.mine THEN o.topic ELSE '' END, CASE WHEN o.mine THEN coalesce(o.key, '') ELSE '' END,
      CASE WHEN o.mine THEN o.attrs END, CASE WHEN o.mine THEN o.body END
    FROM (SELECT i.*, i.class = of_class AND (own >> (i.partition & 63)) & 1 = 1 AS mine FROM {{local}} i
      WHERE i.seq > after_seq ORDER BY i.seq LIMIT max_rows) o ORDER BY o.seq;
END
$sixfold$;

-- STABLE makes both statements see one snapshot, or the second could answer fewer rows than the first had found, and a full
-- result would look like a complete one.
CREATE FUNCTION {{local_look_up}}(singles bigint[], froms bigint[], tos bigint[], max_rows integer, of_class text, own bigint)
  RETURNS TABLE (seq bigint, partition smallint, attempts smallint, id text, topic text, key text, attrs bytea, body bytea)
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
BEGIN
  IF singles IS NULL THEN
    singles := ARRAY(SELECT s.seq FROM unnest(froms, tos) r(f, t)
      CROSS JOIN LATERAL (SELECT i.seq FROM {{local}} i WHERE i.seq BETWEEN r.f AND r.t ORDER BY i.seq LIMIT max_rows) s
      ORDER BY s.seq LIMIT max_rows);
  END IF;
  RETURN QUERY SELECT o.seq, (o.partition & 63)::smallint, o.attempts, CASE WHEN o.mine THEN o.id::text ELSE '' END, CASE WHEN o.mine THEN o.topic ELSE '' END, CASE WHEN o.mine THEN coalesce(o.key, '') ELSE '' END,
      CASE WHEN o.mine THEN o.attrs END, CASE WHEN o.mine THEN o.body END
    FROM (SELECT i.*, i.class = of_class AND (own >> (i.partition & 63)) & 1 = 1 AS mine FROM {{local}} i
      WHERE i.seq = ANY(singles) ORDER BY i.seq LIMIT max_rows) o ORDER BY o.seq;
END
$sixfold$;

-- Answers the number of rows that were there, -1 when the node is gone. The node is looked at in the statement that
-- deletes: a take-over removes its row first.
CREATE FUNCTION {{local_settle}}(by_node uuid, seqs bigint[], keep boolean) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
DECLARE n integer;
BEGIN
  IF keep THEN
    WITH d AS (DELETE FROM {{local}} o WHERE o.seq = ANY(seqs) AND EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = by_node) RETURNING o.*)
    INSERT INTO {{delivered}} (local, seq, partition, attempts, id, class, topic, key, attrs, body, created_at)
      SELECT true, d.seq, d.partition, d.attempts, d.id, d.class, d.topic, d.key, d.attrs, d.body, d.created_at FROM d;
  ELSE
    DELETE FROM {{local}} o WHERE o.seq = ANY(seqs) AND EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = by_node);
  END IF;
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n = 0 AND NOT EXISTS (SELECT 1 FROM {{node}} d WHERE d.id = by_node) THEN
    RETURN -1;
  END IF;
  RETURN n;
END
$sixfold$;

-- Settle for a handler's own transaction: answers which rows were there, or -1 alone when the node is gone. behind says that
-- the consumer has a line of the row's key. It is looked up after the rows were had, by a statement that sees what was
-- committed until then: who held an earlier row of the key, and parked it, has ended by now.
CREATE FUNCTION {{local_claim}}(by_node uuid, seqs bigint[], keep boolean) RETURNS TABLE (seq bigint, behind boolean)
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
DECLARE
  there   bigint[];
  classes text[];
  keys    text[];
BEGIN
  IF keep THEN
    WITH d AS (DELETE FROM {{local}} o WHERE o.seq = ANY(seqs) AND EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = by_node) RETURNING o.*),
    m AS (INSERT INTO {{delivered}} (local, seq, partition, attempts, id, class, topic, key, attrs, body, created_at)
      SELECT true, d.seq, d.partition, d.attempts, d.id, d.class, d.topic, d.key, d.attrs, d.body, d.created_at FROM d
      RETURNING seq, class, key)
    SELECT array_agg(m.seq), array_agg(m.class), array_agg(m.key) INTO there, classes, keys FROM m;
  ELSE
    WITH d AS (DELETE FROM {{local}} o WHERE o.seq = ANY(seqs) AND EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = by_node) RETURNING o.seq, o.class, o.key)
    SELECT array_agg(d.seq), array_agg(d.class), array_agg(d.key) INTO there, classes, keys FROM d;
  END IF;
  IF there IS NULL THEN
    IF NOT EXISTS (SELECT 1 FROM {{node}} d WHERE d.id = by_node) THEN
      RETURN QUERY SELECT -1::bigint, false;
    END IF;
    RETURN;
  END IF;
  RETURN QUERY SELECT u.seq, EXISTS (SELECT 1 FROM {{line}} l WHERE l.consumer = u.class AND l.key = u.key)
    FROM unnest(there, classes, keys) u(seq, class, key);
END
$sixfold$;

-- One more attempt for the rows that a dead owner may have begun: those of class up to suspects[partition + 1]. A row that
-- an open transaction holds is skipped: its handler has not ended, and waiting for it would hold up the take-over.
CREATE FUNCTION {{local_count_suspects}}(of_class text, suspects bigint[], highest bigint) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
BEGIN
  UPDATE {{local}} o SET attempts = least(o.attempts + 1, 32767) WHERE o.seq = ANY(ARRAY(
    SELECT s.seq FROM {{local}} s WHERE s.seq <= highest AND s.class = of_class AND s.seq <= suspects[(s.partition & 63) + 1]
    ORDER BY s.seq FOR UPDATE SKIP LOCKED));
END
$sixfold$;

-- Removes the class's dead nodes, then takes up to max_leases partitions without an owner. Answers partition -1 alone when
-- by_node itself is gone, -2 when owners of the class read the other table. Each statement sees what was committed before it began.
CREATE FUNCTION {{lease_take}}(of_class text, by_node uuid, max_leases integer, of_local boolean, count_suspects boolean)
  RETURNS TABLE (partition smallint, epoch bigint, suspect bigint)
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $sixfold$
#variable_conflict use_column
DECLARE
  dead     record;
  free     smallint[];
  suspects bigint[] := array_fill(0::bigint, ARRAY[64]);
  taken    record;
  highest  bigint := 0;
BEGIN
  -- Nobody removes this node before this transaction ends; its heartbeat is not held up.
  PERFORM 1 FROM {{node}} n WHERE n.id = by_node AND n.class = of_class FOR KEY SHARE;
  IF NOT FOUND THEN
    RETURN QUERY SELECT (-1)::smallint, 0::bigint, 0::bigint;
    RETURN;
  END IF;

  FOR dead IN
    DELETE FROM {{node}} n WHERE n.id = ANY(ARRAY(SELECT d.id FROM {{node}} d
      WHERE d.class = of_class AND d.until < now() AND d.id <> by_node ORDER BY d.id FOR UPDATE SKIP LOCKED)) RETURNING n.id, n.mark
  LOOP
    UPDATE {{lease}} l SET node = NULL, suspect = greatest(l.suspect, dead.mark)
      WHERE l.class = of_class AND l.node = dead.id;
  END LOOP;

  IF EXISTS (SELECT 1 FROM {{lease}} l WHERE l.class = of_class AND l.local <> of_local AND l.node IS NOT NULL) THEN
    RETURN QUERY SELECT (-2)::smallint, 0::bigint, 0::bigint;
    RETURN;
  END IF;

  -- A lease whose node has no row at all is free as well. Asked first to choose, then again of the locked rows: in the
  -- locking statement itself a node that has joined since its snapshot would look missing.
  free := ARRAY(SELECT l.partition FROM {{lease}} l WHERE l.class = of_class
    AND (l.node IS NULL OR NOT EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = l.node))
    ORDER BY l.partition LIMIT max_leases FOR UPDATE SKIP LOCKED);

  FOR taken IN
    WITH f AS (SELECT l.partition, l.suspect FROM {{lease}} l WHERE l.class = of_class AND l.partition = ANY(free)
      AND (l.node IS NULL OR NOT EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = l.node))),
    t AS (UPDATE {{lease}} l SET node = by_node, epoch = l.epoch + 1, suspect = 0, local = of_local FROM f
      WHERE l.class = of_class AND l.partition = f.partition RETURNING l.partition, l.epoch, f.suspect)
    SELECT t.partition, t.epoch, t.suspect FROM t ORDER BY t.partition
  LOOP
    suspects[taken.partition + 1] := taken.suspect;
    highest := greatest(highest, taken.suspect);
    partition := taken.partition;
    epoch := taken.epoch;
    suspect := taken.suspect;
    RETURN NEXT;
  END LOOP;

  IF count_suspects AND highest > 0 THEN
    IF of_local THEN
      PERFORM {{local_count_suspects}}(of_class, suspects, highest);
    ELSE
      PERFORM {{outbox_count_suspects}}(of_class, suspects, highest);
    END IF;
  END IF;
END
$sixfold$;

-- Enters messages as handled. ids holds 16 bytes of message and 16 of digest for each, in ascending order of message, so
-- that two who enter the same ones wait for each other instead of deadlocking. Answers those that are not the first, by
-- index: 1 handled, 2 parked, 3 dead, 4 reused, 5 behind, 6 gone since (ask again).
CREATE FUNCTION {{inbox_record}}(of_consumer text, ids bytea, keys text[])
  RETURNS TABLE (i integer, verdict integer)
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
DECLARE
  n     integer := octet_length(ids) / 32;
  held  text[];
  mine  bytea[];
  more  bytea[];
BEGIN
  IF keys IS NOT NULL THEN
    held := ARRAY(SELECT DISTINCT p.key FROM {{line}} p WHERE p.consumer = of_consumer AND p.key = ANY(keys));
    IF held = '{}' THEN
      held := NULL;
    END IF;
  END IF;
  WITH w AS (
    INSERT INTO {{inbox}} (consumer, message, digest, state)
      SELECT of_consumer, substr(ids, g * 32 + 1, 16), substr(ids, g * 32 + 17, 16), 1
        FROM generate_series(0, n - 1) g WHERE held IS NULL OR keys[g + 1] IS NULL OR keys[g + 1] <> ALL(held)
      ON CONFLICT (consumer, message) DO NOTHING RETURNING message)
  SELECT array_agg(w.message) INTO mine FROM w;
  IF cardinality(mine) = n THEN
    RETURN;
  END IF;
  mine := coalesce(mine, '{}');

  -- What was counted as an attempt and is not handled becomes ours, unless its key is parked.
  WITH w AS (
    UPDATE {{inbox}} b SET state = 1, digest = u.digest, at = now()
      FROM (SELECT substr(ids, g * 32 + 1, 16) AS message, substr(ids, g * 32 + 17, 16) AS digest FROM generate_series(0, n - 1) g
        WHERE (held IS NULL OR keys[g + 1] IS NULL OR keys[g + 1] <> ALL(held)) AND substr(ids, g * 32 + 1, 16) <> ALL(mine)) u
      WHERE b.consumer = of_consumer AND b.message = u.message AND b.state = 0 RETURNING b.message)
  SELECT coalesce(array_agg(w.message), '{}') INTO more FROM w;
  mine := mine || more;

  RETURN QUERY SELECT u.i, CASE
      WHEN b.state > 0 AND b.digest <> u.digest THEN 4
      WHEN b.state > 0 THEN b.state::integer
      WHEN u.key = ANY(held) THEN 5
      ELSE 6 END
    FROM (SELECT g AS i, keys[g + 1] AS key, substr(ids, g * 32 + 1, 16) AS message, substr(ids, g * 32 + 17, 16) AS digest
      FROM generate_series(0, n - 1) g) u
    LEFT JOIN {{inbox}} b ON b.consumer = of_consumer AND b.message = u.message
    WHERE u.message <> ALL(mine) ORDER BY u.i;
END
$sixfold$;

-- For writers in other languages and for triggers: publishes in their own transaction.

-- The partition of a key: FNV-1a (32 bits, draft-eastlake-fnv) over its UTF-8 bytes, modulo 64; at random without a key.
CREATE FUNCTION {{partition_of}}(key text) RETURNS smallint
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $sixfold$
DECLARE
  h bigint := 2166136261;
  b bytea  := convert_to(key, 'UTF8');
BEGIN
  IF coalesce(key, '') = '' THEN
    RETURN floor(random() * 64);
  END IF;
  FOR i IN 0 .. octet_length(b) - 1 LOOP
    h := ((h # get_byte(b, i)) * 16777619) & 4294967295;
  END LOOP;
  RETURN h & 63;
END
$sixfold$;

CREATE FUNCTION {{publish_attrs}}(type text, content_type text, source text, headers jsonb, must_reach boolean) RETURNS bytea
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $sixfold$
BEGIN
  IF type IS NULL OR type !~ '^[!-~]{1,255}$' THEN
    RAISE EXCEPTION 'sixfold: message type %: it must be 1 to 255 bytes of printable ASCII without spaces', quote_nullable(left(type, 64)) USING ERRCODE = '22023';
  END IF;
  IF jsonb_typeof(headers) <> 'object' OR jsonb_path_exists(headers, '$.* ? (@.type() != "string")') THEN
    RAISE EXCEPTION 'sixfold: headers must be an object whose values are strings' USING ERRCODE = '22023';
  END IF;
  RETURN convert_to(jsonb_strip_nulls(jsonb_build_object('type', type, 'source', nullif(source, ''),
    'datacontenttype', CASE WHEN content_type IS DISTINCT FROM 'application/json' THEN coalesce(content_type, '') END,
    'time', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'mustreach', CASE WHEN must_reach THEN true END, 'headers', nullif(headers, '{}')))::text, 'UTF8');
END
$sixfold$;

-- Publishes to a topic and answers the message's id. class names the transport where the relay has several.
CREATE FUNCTION {{publish}}(topic text, type text, body bytea, key text DEFAULT NULL, content_type text DEFAULT 'application/json',
    source text DEFAULT NULL, headers jsonb DEFAULT NULL, must_reach boolean DEFAULT false, class text DEFAULT '', id uuid DEFAULT gen_random_uuid())
  RETURNS uuid
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $sixfold$
#variable_conflict use_variable
BEGIN
  IF topic IS NULL OR topic !~ '^[!-~]{1,255}$' OR topic ~ '[*>#]' THEN
    RAISE EXCEPTION 'sixfold: topic %: it must be 1 to 255 bytes of printable ASCII without spaces, *, > and #', quote_nullable(left(topic, 64)) USING ERRCODE = '22023';
  END IF;
  INSERT INTO {{outbox}} (partition, id, class, topic, key, attrs, body) VALUES ({{partition_of}}(key), id, class, topic, nullif(key, ''),
    {{publish_attrs}}(type, content_type, source, headers, must_reach), body);
  RETURN id;
END
$sixfold$;

-- Publishes to one consumer of this database and answers the message's id.
CREATE FUNCTION {{publish_local}}(consumer text, type text, body bytea, key text DEFAULT NULL, content_type text DEFAULT 'application/json',
    source text DEFAULT NULL, headers jsonb DEFAULT NULL, id uuid DEFAULT gen_random_uuid())
  RETURNS uuid
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp
AS $sixfold$
#variable_conflict use_variable
BEGIN
  IF consumer IS NULL OR consumer !~ '^[!-~]{1,95}$' THEN
    RAISE EXCEPTION 'sixfold: consumer %: it must be 1 to 95 bytes of printable ASCII without spaces', quote_nullable(left(consumer, 64)) USING ERRCODE = '22023';
  END IF;
  INSERT INTO {{local}} (partition, id, class, topic, key, attrs, body) VALUES ({{partition_of}}(key), id, consumer, '', nullif(key, ''),
    {{publish_attrs}}(type, content_type, source, headers, true), body);
  RETURN id;
END
$sixfold$;
