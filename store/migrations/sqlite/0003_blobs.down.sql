DROP TABLE {{blob}};
