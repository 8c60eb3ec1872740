package bus

import "context"

type deliveriesKey struct{}

// WithDeliveries makes the deliveries that a handler works on known below ctx. Consumers call it; for a single
// envelope ds has one element.
func WithDeliveries(ctx context.Context, ds []*Delivery) context.Context {
	return context.WithValue(ctx, deliveriesKey{}, ds)
}

// DeliveriesFrom answers the deliveries that ctx's handler works on, or nil outside of a consumer. Read them only.
func DeliveriesFrom(ctx context.Context) []*Delivery {
	ds, _ := ctx.Value(deliveriesKey{}).([]*Delivery)
	return ds
}
