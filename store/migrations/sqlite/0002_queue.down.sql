DELETE FROM {{node}} WHERE class LIKE 'queue/%';
DELETE FROM {{lease}} WHERE class LIKE 'queue/%';
DROP TABLE {{queue}};
DROP TABLE {{queue_group}};
