package demo

// OrderPlaced begins the way of an order. Orders of one customer stay in order.
type OrderPlaced struct {
	Order    string `json:"order"`
	Customer string `json:"customer"`
	Number   int    `json:"number"`    // of the customer's orders, from 1
	PlacedAt int64  `json:"placed_at"` // microseconds of the Unix epoch
}

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.Customer }

// PaymentTaken says that an order was charged.
type PaymentTaken OrderPlaced

func (PaymentTaken) MessageName() string  { return "payments.taken" }
func (m PaymentTaken) MessageKey() string { return m.Customer }

// OrderShipped says that an order went out.
type OrderShipped OrderPlaced

func (OrderShipped) MessageName() string  { return "shipping.shipped" }
func (m OrderShipped) MessageKey() string { return m.Customer }
