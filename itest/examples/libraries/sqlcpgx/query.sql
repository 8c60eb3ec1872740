-- name: PlaceOrder :exec
INSERT INTO orders (id) VALUES ($1);

-- name: ShipOrder :exec
INSERT INTO shipments (order_id) VALUES ($1);
