-- serves: 1
-- Messages that wait for their time, and recurring schedules.

-- Rows that move into {{outbox}}, or if local into {{local}}, when they are due.
CREATE TABLE {{delayed}} (
  n          bigint      GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {{delayed_seq}} CACHE 1),
  due_at     timestamptz NOT NULL,
  local      boolean     NOT NULL,
  partition  smallint    NOT NULL,
  id         uuid        NOT NULL,
  class      text        NOT NULL,
  topic      text        NOT NULL,
  key        text,
  attrs      bytea       NOT NULL,
  body       bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT {{bare delayed_pkey}} PRIMARY KEY (due_at, n)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX {{bare delayed_id}} ON {{delayed}} (id);

-- Which messages were moved, for a time: ids has those of one transaction, 16 bytes each. A row for each would be a third of what
-- moving costs, and compressing what cannot be compressed a twentieth.
CREATE TABLE {{promoted}} (
  at  timestamptz NOT NULL,
  ids bytea       NOT NULL
);
ALTER TABLE {{promoted}} ALTER COLUMN ids SET STORAGE EXTERNAL;
CREATE INDEX {{bare promoted_at}} ON {{promoted}} (at);

-- state: 1 active, 2 paused, 3 finished, 4 removed. definition is JSON: all that the caller said, and the message. next_due is
-- the planned time of the next occurrence, wake_at when to look at it. last_id is the message of the last one, and is found
-- among the local rows with a seq behind last_from and up to last_to.
CREATE TABLE {{schedule}} (
  name       text        NOT NULL,
  spec       text        NOT NULL,
  zone       text        NOT NULL,
  definition bytea       NOT NULL,
  owner      text        NOT NULL,
  state      smallint    NOT NULL CHECK (state BETWEEN 1 AND 4),
  runs       bigint      NOT NULL,
  next_due   timestamptz,
  wake_at    timestamptz,
  last_due   timestamptz,
  last_id    text        NOT NULL,
  last_from  bigint      NOT NULL,
  last_to    bigint      NOT NULL,
  no_overlap boolean     NOT NULL,
  problem    text        NOT NULL,
  changed_at timestamptz NOT NULL,
  CONSTRAINT {{bare schedule_pkey}} PRIMARY KEY (name)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX {{bare schedule_wake}} ON {{schedule}} (wake_at) WHERE wake_at IS NOT NULL;

-- Occurrences. outcome: 1 begun, 2 misfired, 3 overlapped, 4 triggered by hand, 5 failed. The key is why one happens once.
CREATE TABLE {{tick}} (
  schedule    text        NOT NULL,
  planned     timestamptz NOT NULL,
  promoted_at timestamptz NOT NULL,
  outcome     smallint    NOT NULL,
  id          text        NOT NULL,
  missed      integer     NOT NULL,
  local       boolean     NOT NULL,
  relayed     boolean     NOT NULL,
  note        text        NOT NULL,
  CONSTRAINT {{bare tick_pkey}} PRIMARY KEY (schedule, planned)
);
CREATE INDEX {{bare tick_promoted}} ON {{tick}} (promoted_at);

-- Moves up to max_rows rows that are due from from_due on. One transaction at a time does so, or only what each of them moves
-- would be in order; moved is -1 where another one does.
CREATE FUNCTION {{delayed_promote}}(max_rows integer, from_due timestamptz)
  RETURNS TABLE (moved integer, last timestamptz)
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtextextended({{literal delayed}}, 0)) THEN
    RETURN QUERY SELECT -1, NULL::timestamptz;
    RETURN;
  END IF;
  RETURN QUERY
  WITH d AS (DELETE FROM {{delayed}} x WHERE x.ctid = ANY(ARRAY(SELECT i.ctid FROM {{delayed}} i
      WHERE i.due_at <= now() AND i.due_at >= from_due ORDER BY i.due_at, i.n LIMIT max_rows FOR UPDATE SKIP LOCKED)) RETURNING x.*),
    o AS (INSERT INTO {{outbox}} (partition, id, class, topic, key, attrs, body)
      SELECT d.partition, d.id, d.class, d.topic, d.key, d.attrs, d.body FROM d WHERE NOT d.local ORDER BY d.due_at, d.n),
    l AS (INSERT INTO {{local}} (partition, id, class, topic, key, attrs, body)
      SELECT d.partition, d.id, d.class, d.topic, d.key, d.attrs, d.body FROM d WHERE d.local ORDER BY d.due_at, d.n),
    p AS (INSERT INTO {{promoted}} (at, ids) SELECT now(), string_agg(uuid_send(d.id), '') FROM d HAVING count(*) > 0)
    SELECT count(*)::integer, max(d.due_at) FROM d;
END
$sixfold$;

-- What became of a message that somebody wants to change: 1 that was done, 2 it was moved, 0 there is none. Who moves it at this
-- moment is waited for, and the second statement sees what it did.
CREATE FUNCTION {{delayed_cancel}}(of_id uuid) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
BEGIN
  DELETE FROM {{delayed}} x WHERE x.id = of_id;
  IF FOUND THEN
    RETURN 1;
  END IF;
  RETURN CASE WHEN EXISTS (SELECT 1 FROM {{promoted}} p WHERE position(uuid_send(of_id) IN p.ids) > 0) THEN 2 ELSE 0 END;
END
$sixfold$;

CREATE FUNCTION {{delayed_move}}(of_id uuid, new_due timestamptz) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
BEGIN
  UPDATE {{delayed}} x SET due_at = new_due WHERE x.id = of_id;
  IF FOUND THEN
    RETURN 1;
  END IF;
  RETURN CASE WHEN EXISTS (SELECT 1 FROM {{promoted}} p WHERE position(uuid_send(of_id) IN p.ids) > 0) THEN 2 ELSE 0 END;
END
$sixfold$;

-- When the next row of {{delayed}} from from_due on, and the next schedule, are due.
CREATE FUNCTION {{schedule_next}}(from_due timestamptz) RETURNS TABLE (delayed timestamptz, recurring timestamptz)
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
BEGIN
  RETURN QUERY SELECT (SELECT i.due_at FROM {{delayed}} i WHERE i.due_at >= from_due ORDER BY i.due_at, i.n LIMIT 1),
    (SELECT s.wake_at FROM {{schedule}} s WHERE s.wake_at IS NOT NULL ORDER BY s.wake_at LIMIT 1);
END
$sixfold$;

-- Locks up to max_rows schedules that are due and that nobody else holds.
CREATE FUNCTION {{schedule_due}}(max_rows integer) RETURNS SETOF {{schedule}}
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
BEGIN
  RETURN QUERY SELECT s.* FROM {{schedule}} s WHERE s.wake_at <= statement_timestamp() ORDER BY s.wake_at LIMIT max_rows FOR UPDATE SKIP LOCKED;
END
$sixfold$;

-- Locks one.
CREATE FUNCTION {{schedule_find}}(of_name text) RETURNS SETOF {{schedule}}
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
BEGIN
  RETURN QUERY SELECT s.* FROM {{schedule}} s WHERE s.name = of_name FOR UPDATE;
END
$sixfold$;

-- The latest occurrences of a schedule that were planned before a time.
CREATE FUNCTION {{tick_list}}(of_name text, before timestamptz, max_rows integer) RETURNS SETOF {{tick}}
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
BEGIN
  RETURN QUERY SELECT t.* FROM {{tick}} t WHERE t.schedule = of_name AND t.planned < before ORDER BY t.planned DESC LIMIT max_rows;
END
$sixfold$;

-- Removes up to max_rows occurrences that were decided on before a time, and answers how many.
CREATE FUNCTION {{tick_purge}}(before timestamptz, max_rows integer) RETURNS bigint
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
DECLARE
  removed bigint;
BEGIN
  DELETE FROM {{tick}} x WHERE x.ctid = ANY(ARRAY(SELECT t.ctid FROM {{tick}} t WHERE t.promoted_at < before ORDER BY t.promoted_at LIMIT max_rows FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS removed = ROW_COUNT;
  RETURN removed;
END
$sixfold$;

-- Which of these schedules' last messages are not handled yet, by their places from 1 on. What is handled just now is locked
-- and there.
CREATE FUNCTION {{schedule_unhandled}}(froms bigint[], tos bigint[], ids text[]) RETURNS SETOF integer
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan
AS $sixfold$
BEGIN
  FOR i IN 1 .. cardinality(ids) LOOP
    IF EXISTS (SELECT 1 FROM {{local}} l WHERE l.seq > froms[i] AND l.seq <= tos[i] AND l.id = ids[i]::uuid)
        OR EXISTS (SELECT 1 FROM {{parked}} p WHERE p.id = ids[i] AND p.state = 1) THEN
      RETURN NEXT i;
    END IF;
  END LOOP;
END
$sixfold$;

-- Enters occurrences that are not there, and answers how many.
CREATE FUNCTION {{tick_enter}}(schedules text[], times timestamptz[], promotions timestamptz[], outcomes smallint[], ids text[], misses integer[], locals boolean[],
    relays boolean[], notes text[])
  RETURNS bigint
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan
AS $sixfold$
DECLARE
  entered bigint;
BEGIN
  INSERT INTO {{tick}} (schedule, planned, promoted_at, outcome, id, missed, local, relayed, note)
    SELECT * FROM unnest(schedules, times, promotions, outcomes, ids, misses, locals, relays, notes)
    ON CONFLICT (schedule, planned) DO NOTHING;
  GET DIAGNOSTICS entered = ROW_COUNT;
  RETURN entered;
END
$sixfold$;

-- Writes what advancing changes in schedules that this transaction has locked.
CREATE FUNCTION {{schedule_save}}(names text[], states smallint[], counts bigint[], nexts timestamptz[], wakes timestamptz[], lasts timestamptz[], ids text[],
    froms bigint[], tos bigint[], problems text[])
  RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan
AS $sixfold$
DECLARE
  u record;
BEGIN
  -- One by one: a join might be planned, on an empty table, from its other end.
  FOR u IN SELECT * FROM unnest(names, states, counts, nexts, wakes, lasts, ids, froms, tos, problems) v(name, state, runs, next_due, wake_at, last_due, id, low, high, problem) LOOP
    UPDATE {{schedule}} s SET state = u.state, runs = u.runs, next_due = u.next_due, wake_at = u.wake_at, last_due = u.last_due, last_id = u.id,
      last_from = u.low, last_to = u.high, problem = u.problem WHERE s.name = u.name;
  END LOOP;
END
$sixfold$;
