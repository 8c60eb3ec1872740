INSERT INTO sixfold.outbox (partition, id, class, topic, key, attrs, body)
VALUES (sixfold.partition_of('o-5'), gen_random_uuid(), '', 'orders', 'o-5',
  convert_to('{"type": "orders.placed", "source": "billing", "datacontenttype": "application/json"}', 'UTF8'),
  convert_to('{"order_id": "o-5"}', 'UTF8'));
