SELECT sixfold.publish('orders', 'orders.placed', convert_to('{"order_id": "o-1"}', 'UTF8'), 'o-1');

SELECT sixfold.publish(
  topic => 'orders', type => 'orders.placed', body => convert_to('{"order_id": "o-2"}', 'UTF8'), key => 'o-2',
  source => 'billing', headers => '{"tenant": "blue"}', must_reach => true);

SELECT sixfold.publish_local('shipping', 'orders.placed', convert_to('{"order_id": "o-3"}', 'UTF8'), 'o-3');
