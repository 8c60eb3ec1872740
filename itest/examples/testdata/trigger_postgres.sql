CREATE FUNCTION order_placed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM sixfold.publish('orders', 'orders.placed', convert_to(json_build_object('order_id', NEW.id)::text, 'UTF8'), NEW.id);
  RETURN NULL;
END
$$;

CREATE TRIGGER order_placed AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION order_placed();
