-- serves: 1
-- Sagas: their instances, and the journal of what happened to each.

-- Of the instances of a saga and correlation key only the one with the highest generation may be open. status: 1 running,
-- 2 compensating, 3 completed, 4 failed, 5 compensated, 6 cancelled, 7 stuck. schema_version is that of state, which is JSON; timers is JSON
-- too: the messages in {{delayed}} for which it waits. ended_at is null unless nothing will change it any more.
CREATE TABLE {{saga}} (
  saga           text        NOT NULL,
  correlation    text        NOT NULL,
  generation     integer     NOT NULL,
  id             uuid        NOT NULL,
  version        bigint      NOT NULL,
  status         smallint    NOT NULL CHECK (status BETWEEN 1 AND 7),
  schema_version integer     NOT NULL,
  step           text        NOT NULL,
  state          bytea       NOT NULL,
  timers         bytea       NOT NULL,
  reason         text        NOT NULL,
  started_at     timestamptz NOT NULL,
  changed_at     timestamptz NOT NULL,
  ended_at       timestamptz,
  CONSTRAINT {{bare saga_pkey}} PRIMARY KEY (saga, correlation, generation)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX {{bare saga_ended}} ON {{saga}} (ended_at) WHERE ended_at IS NOT NULL;

-- kind: 1 a step, 2 one that failed, 3 a person. took is in microseconds, detail is JSON.
CREATE TABLE {{saga_step}} (
  n        bigint      GENERATED ALWAYS AS IDENTITY (SEQUENCE NAME {{saga_step_seq}} CACHE 1),
  instance uuid        NOT NULL,
  at       timestamptz NOT NULL,
  version  bigint      NOT NULL,
  kind     smallint    NOT NULL,
  step     text        NOT NULL,
  message  text        NOT NULL,
  took     bigint      NOT NULL,
  detail   bytea       NOT NULL,
  CONSTRAINT {{bare saga_step_pkey}} PRIMARY KEY (instance, n)
);

-- Locks the last instance of a saga and key; if there is none, and fresh is given, it enters one. Of two that do so at once, one waits for the
-- other one's end.
CREATE FUNCTION {{saga_load}}(of_saga text, of_key text, fresh uuid)
  RETURNS TABLE (saga text, correlation text, generation integer, id uuid, version bigint, status smallint, schema_version integer, step text,
    state bytea, timers bytea, reason text, started_at timestamptz, changed_at timestamptz, ended_at timestamptz)
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
BEGIN
  LOOP
    RETURN QUERY SELECT s.saga, s.correlation, s.generation, s.id, s.version, s.status, s.schema_version, s.step, s.state, s.timers, s.reason, s.started_at, s.changed_at, s.ended_at
      FROM {{saga}} s WHERE s.saga = of_saga AND s.correlation = of_key ORDER BY s.generation DESC LIMIT 1 FOR UPDATE;
    IF FOUND OR fresh IS NULL THEN
      RETURN;
    END IF;
    INSERT INTO {{saga}} (saga, correlation, generation, id, version, status, schema_version, step, state, timers, reason, started_at, changed_at)
      VALUES (of_saga, of_key, 1, fresh, 0, 1, 0, '', '', '', '', statement_timestamp(), statement_timestamp()) ON CONFLICT DO NOTHING;
  END LOOP;
END
$sixfold$;

-- Saves an instance of that version with a line of its journal, and answers whether it was of that version.
CREATE FUNCTION {{saga_save}}(of_saga text, of_key text, of_generation integer, of_version bigint, new_status smallint, new_schema integer, new_step text,
    new_state bytea, new_timers bytea, new_reason text, final integer, of_instance uuid, new_version bigint, of_kind smallint, of_step text, of_message text, of_took bigint, of_detail bytea)
  RETURNS boolean
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $sixfold$
#variable_conflict use_column
BEGIN
  UPDATE {{saga}} s SET version = s.version + 1, status = new_status, schema_version = new_schema, step = new_step, state = new_state, timers = new_timers,
      reason = new_reason, changed_at = statement_timestamp(), ended_at = CASE WHEN final = 1 THEN coalesce(s.ended_at, statement_timestamp()) END
    WHERE s.saga = of_saga AND s.correlation = of_key AND s.generation = of_generation AND s.version = of_version;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  INSERT INTO {{saga_step}} (instance, at, version, kind, step, message, took, detail)
    VALUES (of_instance, statement_timestamp(), new_version, of_kind, of_step, of_message, of_took, of_detail);
  RETURN true;
END
$sixfold$;
