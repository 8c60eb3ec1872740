DROP TABLE {{saga}};
DROP TABLE {{saga_step}};
