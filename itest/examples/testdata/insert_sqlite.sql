INSERT INTO sixfold_outbox (partition, id, class, topic, key, attrs, body)
VALUES (52, '018f4d3e-7d4c-7b3a-9c0a-0123456789ab', '', 'orders', 'o-5',
  CAST('{"type": "orders.placed", "source": "billing", "datacontenttype": "application/json"}' AS BLOB),
  CAST('{"order_id": "o-5"}' AS BLOB));
