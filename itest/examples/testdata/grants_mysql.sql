-- Who migrates.
GRANT CREATE, DROP, ALTER, INDEX, SELECT, INSERT, UPDATE, DELETE ON shop.* TO shop_owner;
-- Who runs relays, consumers and publishers of Sixfold.
GRANT SELECT, INSERT, UPDATE, DELETE ON shop.* TO shop_service;
