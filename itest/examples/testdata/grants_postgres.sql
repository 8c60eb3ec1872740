-- Who migrates: owns the schema, here made for it.
CREATE SCHEMA sixfold AUTHORIZATION shop_owner;

-- Who runs relays, consumers and publishers of Sixfold, after the migration.
GRANT USAGE ON SCHEMA sixfold TO shop_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sixfold TO shop_service;

-- Who only publishes.
GRANT USAGE ON SCHEMA sixfold TO shop_writer;
GRANT INSERT ON sixfold.outbox, sixfold.local TO shop_writer;
GRANT SELECT, INSERT, UPDATE ON sixfold.published TO shop_writer; -- for messages with ID or Unique
