DELETE FROM {{node}} WHERE class LIKE 'queue/%';
DELETE FROM {{lease}} WHERE class LIKE 'queue/%';
DROP TABLE IF EXISTS {{queue}};
DROP TABLE IF EXISTS {{queue_group}};
DROP TABLE IF EXISTS {{queue_topic}};
