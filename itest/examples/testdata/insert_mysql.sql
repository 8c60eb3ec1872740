-- A message from another program, in its own transaction.
INSERT INTO sixfold_outbox (attempts, `partition`, id, class, topic, `key`, attrs, body)
VALUES (
  (SELECT nothing FROM sixfold_gate -- takes a place at the gate until this transaction ends
    WHERE slot = TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 50000 MOD 32 LOCK IN SHARE MODE),
  45,                               -- FNV-1a of the key, modulo 64
  UUID(), '', 'orders', 'order-1',
  '{"type":"orders.placed","source":"/billing","time":"2026-01-02T03:04:05Z"}',
  '{"order_id":"order-1"}');
