DROP TABLE IF EXISTS {{delayed}}, {{promoted}}, {{tick}}, {{schedule}};
DELETE FROM {{gate}} WHERE slot = 100;
