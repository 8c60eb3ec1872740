DROP FUNCTION {{saga_load}}(text, text, uuid);
DROP FUNCTION {{saga_save}}(text, text, integer, bigint, smallint, integer, text, bytea, bytea, text, integer, uuid, bigint, smallint, text, text, bigint, bytea);
DROP TABLE {{saga}}, {{saga_step}};
