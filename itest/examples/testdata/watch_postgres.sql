-- Transactions that are open for long: vacuum keeps what they may still see.
SELECT pid, usename, application_name, state, now() - xact_start AS open_for
FROM pg_stat_activity WHERE xact_start < now() - interval '5 minutes' ORDER BY xact_start;

-- Prepared transactions that nobody has ended.
SELECT gid, owner, database, now() - prepared AS open_for FROM pg_prepared_xacts ORDER BY prepared;

-- Replication slots, which keep dead rows (xmin) and write-ahead log for somebody who may never come.
SELECT slot_name, active, xmin, catalog_xmin, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) AS behind
FROM pg_replication_slots ORDER BY restart_lsn;

-- Dead rows, and when vacuum last came.
SELECT relname, n_live_tup, n_dead_tup, last_autovacuum, pg_size_pretty(pg_total_relation_size(relid)) AS size
FROM pg_stat_user_tables WHERE schemaname = 'sixfold' ORDER BY n_dead_tup DESC;
