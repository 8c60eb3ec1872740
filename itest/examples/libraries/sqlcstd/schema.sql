CREATE TABLE orders (id text PRIMARY KEY);
CREATE TABLE shipments (order_id text PRIMARY KEY);
