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
CREATE INDEX {{bare parked_dead_key}} ON {{parked}} (consumer, key, n) WHERE state = 2;

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
-- any library, in one statement. Those that take arrays of any length say force_generic_plan too: a plan for the one or two
-- elements at hand promises to be cheaper than one for any number, so that PostgreSQL would plan anew at each call, and that
-- is three quarters of what a call for a single row costs.
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
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan
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
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan
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
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan
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
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan
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
-- index: 1 handled, 2 parked, 3 dead, 4 reused, 5 behind, 6 gone since (ask again). Rows are looked up one by one where a join
-- that was planned on empty tables would walk over all of a consumer's. Without force_generic_plan the INSERT is planned anew at
-- each call, for these very rows: a tenth of what the function costs.
CREATE FUNCTION {{inbox_record}}(of_consumer text, ids bytea, keys text[])
  RETURNS TABLE (i integer, verdict integer)
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan
AS $sixfold$
#variable_conflict use_column
DECLARE
  n     integer := octet_length(ids) / 32;
  mine  bytea[];
  held  text[] := '{}';
  waits bytea[] := '{}';
  one   bytea;
BEGIN
  WITH w AS (
    INSERT INTO {{inbox}} (consumer, message, digest, state)
      SELECT of_consumer, substr(ids, g * 32 + 1, 16), substr(ids, g * 32 + 17, 16), 1 FROM generate_series(0, n - 1) g
      ON CONFLICT (consumer, message) DO NOTHING RETURNING message)
  SELECT coalesce(array_agg(w.message), '{}') INTO mine FROM w;

  -- What was counted as an attempt and is not handled becomes ours.
  IF cardinality(mine) < n THEN
    FOR g IN 0 .. n - 1 LOOP
      one := substr(ids, g * 32 + 1, 16);
      IF one <> ALL(mine) THEN
        UPDATE {{inbox}} b SET state = 1, digest = substr(ids, g * 32 + 17, 16), at = now() WHERE b.consumer = of_consumer AND b.message = one AND b.state = 0;
        IF FOUND THEN
          mine := mine || one;
        END IF;
      END IF;
    END LOOP;
  END IF;

  -- Lines are looked for after all waiting, by a statement that sees what was committed until now: while the first one of a
  -- key was being parked by somebody else, this waited for it, and the second one must not run.
  IF keys IS NOT NULL AND EXISTS (SELECT 1 FROM {{line}} l WHERE l.consumer = of_consumer) THEN
    held := ARRAY(SELECT k.key FROM (SELECT DISTINCT v.key FROM unnest(keys) v(key)) k
      CROSS JOIN LATERAL (SELECT 1 FROM {{line}} l WHERE l.consumer = of_consumer AND l.key = k.key LIMIT 1) h);
  END IF;
  IF held <> '{}' THEN
    FOR g IN 0 .. n - 1 LOOP
      one := substr(ids, g * 32 + 1, 16);
      IF keys[g + 1] = ANY(held) AND one = ANY(mine) THEN
        UPDATE {{inbox}} b SET state = 2 WHERE b.consumer = of_consumer AND b.message = one;
        waits := waits || one;
      END IF;
    END LOOP;
  ELSIF cardinality(mine) = n THEN
    RETURN;
  END IF;

  RETURN QUERY SELECT u.i, CASE
      WHEN u.message = ANY(waits) THEN 5
      WHEN b.state > 0 AND b.digest <> u.digest THEN 4
      WHEN b.state > 0 THEN b.state::integer
      ELSE 6 END
    FROM (SELECT g AS i, substr(ids, g * 32 + 1, 16) AS message, substr(ids, g * 32 + 17, 16) AS digest FROM generate_series(0, n - 1) g) u
    LEFT JOIN LATERAL (SELECT o.state, o.digest FROM {{inbox}} o WHERE o.consumer = of_consumer AND o.message = u.message LIMIT 1) b ON true
    WHERE u.message = ANY(waits) OR u.message <> ALL(mine) ORDER BY u.i;
END
$sixfold$;

-- Functions of parking. Who changes a line locks its row first, then rows of {{parked}}, then of {{inbox}}; several lines in the
-- order of their keys. Only the handlers' transactions do not touch lines: a parked row that is deleted decides by itself
-- between an owner and its successor, and a handler that holds a line would keep its own process from keeping it.

-- Enters messages, those of enter in the inbox too, and answers the indexes of those that were entered. contents holds
-- the bytes of all: attrs and body of each, attr_sizes and body_sizes long. SQLSTATE SXF01: a line is full.
CREATE FUNCTION {{park}}(of_consumer text, most integer, ids bytea, enter boolean[], keys text[], names text[], sources text[], types text[], topics text[],
    damages text[], counts integer[], delays bigint[], dead boolean[], loose boolean[], reasons text[], errors text[], nodes text[],
    attr_sizes integer[], body_sizes integer[], contents bytea)
  RETURNS SETOF integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan
AS $sixfold$
#variable_conflict use_column
DECLARE
  total   integer := cardinality(enter);
  fine    boolean[] := array_fill(true, ARRAY[total]);
  i       integer;
  of_keys text[] := '{}';
  of_ids  bigint[] := '{}';
  fresh   boolean[] := '{}';
  g       record;
  in_line bigint;
  behind  integer;
  made    boolean;
  place   integer := 1;
  k       integer;
  dies    boolean;
  number  bigint;
BEGIN
  -- What is removed between the statements, attempts that are forgotten for example, is asked again.
  FOR i IN SELECT u.i FROM generate_series(1, total) u(i) WHERE enter[u.i] ORDER BY substr(ids, u.i * 32 - 31, 16), u.i LOOP
    FOR again IN 1 .. 10 LOOP
      INSERT INTO {{inbox}} (consumer, message, digest, state, attempts)
        VALUES (of_consumer, substr(ids, i * 32 - 31, 16), substr(ids, i * 32 - 15, 16), 2, least(counts[i], 32767)) ON CONFLICT (consumer, message) DO NOTHING;
      fine[i] := FOUND;
      EXIT WHEN FOUND;
      UPDATE {{inbox}} b SET state = 2, digest = substr(ids, i * 32 - 15, 16), attempts = least(counts[i], 32767), at = now()
        WHERE b.consumer = of_consumer AND b.message = substr(ids, i * 32 - 31, 16) AND b.state = 0;
      fine[i] := FOUND;
      EXIT WHEN FOUND OR EXISTS (SELECT 1 FROM {{inbox}} b WHERE b.consumer = of_consumer AND b.message = substr(ids, i * 32 - 31, 16));
    END LOOP;
  END LOOP;

  -- The lines are locked in the order of their keys. One that is being removed is waited for, and made again.
  FOR g IN SELECT keys[u.i] AS key, count(*)::integer AS more FROM generate_series(1, total) u(i)
    WHERE fine[u.i] AND keys[u.i] IS NOT NULL AND NOT (dead[u.i] AND loose[u.i]) GROUP BY keys[u.i] ORDER BY keys[u.i] COLLATE "C"
  LOOP
    LOOP
      UPDATE {{line}} l SET size = l.size + g.more WHERE l.consumer = of_consumer AND l.key = g.key RETURNING l.id, l.size INTO in_line, behind;
      made := NOT FOUND;
      EXIT WHEN NOT made;
      INSERT INTO {{line}} (consumer, key, due, size) VALUES (of_consumer, g.key, clock_timestamp(), g.more)
        ON CONFLICT (consumer, key) DO NOTHING RETURNING id, size INTO in_line, behind;
      EXIT WHEN FOUND;
    END LOOP;
    IF behind > most THEN
      RAISE EXCEPTION 'sixfold: % messages wait behind one key, % may', behind, most USING ERRCODE = 'SXF01';
    END IF;
    of_keys := of_keys || g.key;
    of_ids := of_ids || in_line;
    fresh := fresh || made;
  END LOOP;

  FOR i IN 1 .. total LOOP
    IF fine[i] THEN
      in_line := NULL;
      dies := dead[i] AND (loose[i] OR keys[i] IS NULL);
      IF keys[i] IS NULL AND NOT dies THEN
        INSERT INTO {{line}} (consumer, due, size) VALUES (of_consumer, clock_timestamp() + delays[i]::double precision * interval '1 microsecond', 1)
          RETURNING id INTO in_line;
      ELSIF NOT dies THEN
        k := array_position(of_keys, keys[i]);
        in_line := of_ids[k];
        IF fresh[k] THEN -- the first one of a line says when it is due
          fresh[k] := false;
          dies := dead[i];
          UPDATE {{line}} l SET due = CASE WHEN dies THEN 'infinity' ELSE clock_timestamp() + delays[i]::double precision * interval '1 microsecond' END WHERE l.id = in_line;
        END IF;
      END IF;
      INSERT INTO {{parked}} (line, state, consumer, message, digest, id, source, type, topic, key, attrs, body, damaged, attempts, reason, error, node)
        VALUES (in_line, CASE WHEN dies THEN 2 ELSE 1 END, of_consumer, substr(ids, i * 32 - 31, 16), substr(ids, i * 32 - 15, 16), names[i], sources[i], types[i], topics[i], keys[i],
          substr(contents, place, attr_sizes[i]), substr(contents, place + attr_sizes[i], body_sizes[i]), damages[i], counts[i], reasons[i], errors[i], nodes[i])
        RETURNING n INTO number;
      IF errors[i] <> '' THEN
        INSERT INTO {{attempt}} (n, attempt, node, error) VALUES (number, counts[i], nodes[i], errors[i]);
      END IF;
      IF dies AND enter[i] THEN
        UPDATE {{inbox}} b SET state = 3 WHERE b.consumer = of_consumer AND b.message = substr(ids, i * 32 - 31, 16);
      END IF;
      RETURN NEXT i - 1;
    END IF;
    place := place + attr_sizes[i] + coalesce(body_sizes[i], 0);
  END LOOP;
END
$sixfold$;

-- Takes over lines that are due and answers their first messages, in the order of the lines' due times and within a line in their
-- own. The first row answers in n the microseconds until another line is due, NULL: none, and in attempts what waits in
-- all lines, where that is asked for.
CREATE FUNCTION {{parked_claim}}(of_consumer text, by_token uuid, max_lines integer, max_rows integer, hold bigint, count_all boolean)
  RETURNS TABLE (line bigint, suspect boolean, begun integer, n bigint, message bytea, id text, topic text, key text, attrs bytea, body bytea, no_body boolean,
    damaged text, attempts integer, epoch integer)
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan
AS $sixfold$
#variable_conflict use_column
DECLARE
  begin_at timestamptz := clock_timestamp();
  due_ids  bigint[];
  of_line  bigint;
  l        record;
  f        record;
  ours     bigint[] := '{}';
  begins   integer[] := '{}';
  expired  boolean[] := '{}';
  next_due timestamptz;
  waiting  integer := -1;
BEGIN
  due_ids := ARRAY(SELECT d.id FROM {{line}} d WHERE d.consumer = of_consumer AND d.due <= begin_at ORDER BY d.due, d.id LIMIT max_lines FOR UPDATE SKIP LOCKED);
  FOREACH of_line IN ARRAY due_ids LOOP
    SELECT d.head, d.attempts, d.token IS NOT NULL AS expired INTO l FROM {{line}} d WHERE d.id = of_line;
    SELECT count(*)::integer AS size, min(p.n) AS first INTO f FROM {{parked}} p WHERE p.line = of_line;
    IF f.size = 0 THEN
      DELETE FROM {{line}} d WHERE d.id = of_line;
      CONTINUE;
    END IF;
    -- A line that was in hand when its process died is only suspected: which one killed it nobody knows. An attempt is counted
    -- when such a line has its turn to run alone.
    UPDATE {{line}} d SET token = by_token, due = begin_at + hold::double precision * interval '1 microsecond', size = f.size, head = f.first,
        attempts = CASE WHEN l.head = f.first THEN l.attempts ELSE (SELECT p.attempts FROM {{parked}} p WHERE p.n = f.first) END
      WHERE d.id = of_line RETURNING d.attempts INTO f.size;
    ours := ours || of_line;
    begins := begins || f.size;
    expired := expired || l.expired;
  END LOOP;

  SELECT d.due INTO next_due FROM {{line}} d WHERE d.consumer = of_consumer AND d.due < 'infinity' AND d.id <> ALL(ours) ORDER BY d.due LIMIT 1;
  IF count_all THEN
    SELECT coalesce(sum(d.size), 0) INTO waiting FROM {{line}} d WHERE d.consumer = of_consumer;
  END IF;
  n := ceil(extract(epoch FROM next_due - clock_timestamp()) * 1000000)::bigint;
  attempts := waiting;
  RETURN NEXT;
  IF ours <> '{}' THEN
    RETURN QUERY SELECT u.line, u.expired, u.begun, p.n, p.message, p.id, p.topic, coalesce(p.key, ''), p.attrs, p.body, p.body IS NULL, coalesce(p.damaged, ''), p.attempts, p.epoch
      FROM unnest(ours, expired, begins) WITH ORDINALITY u(line, expired, begun, i)
      CROSS JOIN LATERAL (SELECT q.* FROM {{parked}} q WHERE q.line = u.line ORDER BY q.n LIMIT max_rows) p ORDER BY u.i, p.n;
  END IF;
END
$sixfold$;

-- Removes messages in the transaction of their handlers and answers those that were there and ours.
CREATE FUNCTION {{parked_take}}(ns bigint[], tokens uuid[]) RETURNS SETOF bigint
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $sixfold$
#variable_conflict use_column
DECLARE
  taken    bigint[];
  whose    text[];
  messages bytea[];
  counts   integer[];
BEGIN
  -- Whoever comes second waits here. The next statement sees the tokens that were committed until then, so that one which
  -- waited through a take-over is refused too.
  PERFORM 1 FROM {{parked}} p WHERE p.n = ANY(ns) ORDER BY p.n FOR UPDATE;
  WITH d AS (
    DELETE FROM {{parked}} p USING {{line}} l, unnest(ns, tokens) u(n, token) WHERE p.n = u.n AND l.id = p.line AND l.token = u.token
      RETURNING p.n, p.consumer, p.message, CASE WHEN l.head = p.n THEN greatest(l.attempts, p.attempts + 1) ELSE p.attempts + 1 END AS count)
  SELECT array_agg(d.n ORDER BY d.n), array_agg(d.consumer ORDER BY d.n), array_agg(d.message ORDER BY d.n), array_agg(d.count ORDER BY d.n)
    INTO taken, whose, messages, counts FROM d;
  IF taken IS NULL THEN
    RETURN;
  END IF;
  DELETE FROM {{attempt}} a WHERE a.n = ANY(taken);
  UPDATE {{inbox}} b SET state = 1, attempts = least(u.count, 32767), at = now()
    FROM (SELECT * FROM unnest(whose, messages, counts) v(consumer, message, count) ORDER BY v.message) u
    WHERE b.consumer = u.consumer AND b.message = u.message AND b.state <> 1;
  RETURN QUERY SELECT unnest(taken);
END
$sixfold$;

-- Puts down a failed attempt at the first message of a line and gives the line back. False: it is not ours. If an earlier message
-- came to the line meanwhile, one that was redriven, it is due now, and what dies and holds its key does so in its turn.
CREATE FUNCTION {{parked_fail}}(of_line bigint, by_token uuid, of_n bigint, count integer, delay bigint, dies boolean, loose boolean, why text, text_of text, by_node text)
  RETURNS boolean
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
DECLARE
  l       record;
  p       record;
  f       record;
  earlier boolean;
BEGIN
  SELECT d.key INTO l FROM {{line}} d WHERE d.id = of_line AND d.token = by_token FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM 1 FROM {{parked}} q WHERE q.n = of_n AND q.line = of_line FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  earlier := EXISTS (SELECT 1 FROM {{parked}} q WHERE q.line = of_line AND q.n < of_n);
  loose := dies AND (loose OR l.key IS NULL);
  dies := dies AND (loose OR NOT earlier);
  UPDATE {{parked}} q SET attempts = count, error = text_of, reason = why, node = by_node, last_at = clock_timestamp(), state = CASE WHEN dies THEN 2 ELSE 1 END,
      line = CASE WHEN loose THEN NULL ELSE q.line END WHERE q.n = of_n RETURNING q.consumer, q.message INTO p;
  INSERT INTO {{attempt}} (n, attempt, node, error) VALUES (of_n, count, by_node, text_of);
  DELETE FROM {{attempt}} a WHERE a.ctid = ANY(ARRAY(SELECT o.ctid FROM {{attempt}} o WHERE o.n = of_n ORDER BY o.at DESC, o.attempt DESC OFFSET 50));
  UPDATE {{inbox}} b SET state = CASE WHEN dies THEN 3 ELSE b.state END, attempts = least(count, 32767) WHERE b.consumer = p.consumer AND b.message = p.message AND b.state = 2;

  SELECT count(*)::integer AS size, min(q.n) AS first INTO f FROM {{parked}} q WHERE q.line = of_line;
  IF f.size = 0 THEN
    DELETE FROM {{line}} d WHERE d.id = of_line;
  ELSE
    UPDATE {{line}} d SET token = NULL, size = f.size, head = of_n, attempts = count,
        due = CASE WHEN loose OR earlier THEN clock_timestamp() WHEN dies THEN 'infinity' ELSE clock_timestamp() + delay::double precision * interval '1 microsecond' END
      WHERE d.id = of_line;
  END IF;
  RETURN true;
END
$sixfold$;

-- Keeps lines for another hold and answers those that are ours. A line that a transaction holds, one that parks behind it for
-- example, is kept at the next call: waiting for it would hold up the others. Where an attempt begins, it is waited for.
CREATE FUNCTION {{parked_keep}}(ids bigint[], tokens uuid[], hold bigint, begins boolean) RETURNS SETOF bigint
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $sixfold$
#variable_conflict use_column
BEGIN
  IF begins THEN
    PERFORM 1 FROM {{line}} k JOIN unnest(ids, tokens) u(id, token) ON k.id = u.id AND k.token = u.token ORDER BY k.consumer, k.key COLLATE "C", k.id FOR NO KEY UPDATE OF k;
  END IF;
  UPDATE {{line}} l SET due = clock_timestamp() + hold::double precision * interval '1 microsecond', attempts = l.attempts + begins::integer
    WHERE l.id = ANY(ARRAY(SELECT k.id FROM {{line}} k JOIN unnest(ids, tokens) u(id, token) ON k.id = u.id AND k.token = u.token FOR NO KEY UPDATE OF k SKIP LOCKED));
  RETURN QUERY SELECT l.id FROM {{line}} l JOIN unnest(ids, tokens) u(id, token) ON l.id = u.id AND l.token = u.token ORDER BY l.id;
END
$sixfold$;

-- Gives lines back, and ends those without messages. Each is locked before it is asked by another statement whether
-- messages are left: asked in the statement that deletes it, one that came while that waited for the lock would be left
-- without a line.
CREATE FUNCTION {{parked_give_back}}(ids bigint[], tokens uuid[], delays bigint[], begun boolean[]) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    SET plan_cache_mode = force_generic_plan
AS $sixfold$
#variable_conflict use_column
DECLARE
  l record;
  f record;
BEGIN
  FOR l IN SELECT k.id, u.delay, u.begun FROM {{line}} k JOIN unnest(ids, tokens, delays, begun) u(id, token, delay, begun) ON k.id = u.id AND k.token = u.token
    ORDER BY k.consumer, k.key COLLATE "C", k.id FOR UPDATE OF k
  LOOP
    SELECT count(*)::integer AS size, min(p.n) AS first INTO f FROM {{parked}} p WHERE p.line = l.id;
    IF f.size = 0 THEN
      DELETE FROM {{line}} d WHERE d.id = l.id;
    ELSE
      UPDATE {{line}} d SET token = NULL, due = clock_timestamp() + l.delay::double precision * interval '1 microsecond', size = f.size,
          attempts = d.attempts - coalesce(l.begun AND d.head = f.first AND d.attempts > 0, false)::integer
        WHERE d.id = l.id;
    END IF;
  END LOOP;
END
$sixfold$;

-- Makes dead letters of rows that no broker takes. Answers the number of rows that were there, -1 when the node is gone: its row
-- is held until the end, since a row that took the same seq later must not be buried.
CREATE FUNCTION {{outbox_bury}}(by_node uuid, seqs bigint[], messages bytea, names text[], sources text[], types text[], reasons text[], errors text[], nodes text[], counts integer[])
  RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $sixfold$
#variable_conflict use_column
DECLARE buried integer;
BEGIN
  PERFORM 1 FROM {{node}} n WHERE n.id = by_node FOR KEY SHARE;
  IF NOT FOUND THEN
    RETURN -1;
  END IF;
  WITH d AS (DELETE FROM {{outbox}} o WHERE o.seq = ANY(seqs) RETURNING o.*)
  INSERT INTO {{parked}} (state, relay, consumer, message, digest, id, source, type, topic, key, attrs, body, attempts, reason, error, node, first_at)
    SELECT 2, true, d.class, substr(messages, u.i::integer * 16 - 15, 16), substr(sha256(convert_to(u.type, 'UTF8') || '\x00'::bytea || coalesce(d.body, ''::bytea)), 1, 16),
        u.name, u.source, u.type, d.topic, d.key, d.attrs, d.body, u.count, u.reason, u.error, u.node, d.created_at
      FROM unnest(seqs, names, sources, types, reasons, errors, nodes, counts) WITH ORDINALITY u(seq, name, source, type, reason, error, node, count, i) JOIN d ON d.seq = u.seq ORDER BY d.seq;
  GET DIAGNOSTICS buried = ROW_COUNT;
  RETURN buried;
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
