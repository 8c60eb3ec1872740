package main

// What the shop, the stock, the bank and the carrier say to each other. The number of the order is the key of all of it.
type (
	OrderPlaced struct {
		Order, Customer, Article string
		Cents                    int64
	}
	OrderAccepted struct{ Order string }
	OrderRejected struct{ Order, Why string }
	OrderShipped  struct{ Order, Parcel string }

	ReserveStock  struct{ Order, Article string }
	StockReserved struct{ Order string }
	StockMissing  struct{ Order string }
	ReleaseStock  struct{ Order string }
	StockReleased struct{ Order string }

	TakePayment struct {
		Order, Customer string
		Cents           int64
	}
	PaymentTaken     struct{ Order string }
	PaymentRefused   struct{ Order, Why string }
	Refund           struct{ Order string }
	Refunded         struct{ Order string }
	RefundImpossible struct{ Order string }

	Ship            struct{ Order, Customer string }
	Shipped         struct{ Order, Parcel string }
	ShippingRefused struct{ Order, Why string }
)

func (OrderPlaced) MessageName() string      { return "shop.order-placed" }
func (OrderAccepted) MessageName() string    { return "shop.order-accepted" }
func (OrderRejected) MessageName() string    { return "shop.order-rejected" }
func (OrderShipped) MessageName() string     { return "shop.order-shipped" }
func (ReserveStock) MessageName() string     { return "stock.reserve" }
func (StockReserved) MessageName() string    { return "stock.reserved" }
func (StockMissing) MessageName() string     { return "stock.missing" }
func (ReleaseStock) MessageName() string     { return "stock.release" }
func (StockReleased) MessageName() string    { return "stock.released" }
func (TakePayment) MessageName() string      { return "bank.take-payment" }
func (PaymentTaken) MessageName() string     { return "bank.payment-taken" }
func (PaymentRefused) MessageName() string   { return "bank.payment-refused" }
func (Refund) MessageName() string           { return "bank.refund" }
func (Refunded) MessageName() string         { return "bank.refunded" }
func (RefundImpossible) MessageName() string { return "bank.refund-impossible" }
func (Ship) MessageName() string             { return "carrier.ship" }
func (Shipped) MessageName() string          { return "carrier.shipped" }
func (ShippingRefused) MessageName() string  { return "carrier.refused" }

func (m OrderPlaced) MessageKey() string      { return m.Order }
func (m OrderAccepted) MessageKey() string    { return m.Order }
func (m OrderRejected) MessageKey() string    { return m.Order }
func (m OrderShipped) MessageKey() string     { return m.Order }
func (m ReserveStock) MessageKey() string     { return m.Order }
func (m StockReserved) MessageKey() string    { return m.Order }
func (m StockMissing) MessageKey() string     { return m.Order }
func (m ReleaseStock) MessageKey() string     { return m.Order }
func (m StockReleased) MessageKey() string    { return m.Order }
func (m TakePayment) MessageKey() string      { return m.Order }
func (m PaymentTaken) MessageKey() string     { return m.Order }
func (m PaymentRefused) MessageKey() string   { return m.Order }
func (m Refund) MessageKey() string           { return m.Order }
func (m Refunded) MessageKey() string         { return m.Order }
func (m RefundImpossible) MessageKey() string { return m.Order }
func (m Ship) MessageKey() string             { return m.Order }
func (m Shipped) MessageKey() string          { return m.Order }
func (m ShippingRefused) MessageKey() string  { return m.Order }
