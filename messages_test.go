package sixfold_test

import (
	"bytes"
	"fmt"

	"github.com/sixfold-go/sixfold"
)

// placed is an ordinary message with a key.
type placed struct {
	OrderID string `json:"order_id"`
	Total   int    `json:"total"`
}

func (placed) MessageName() string  { return "orders.placed" }
func (m placed) MessageKey() string { return m.OrderID }

// shipped was called otherwise three times; the second of its bodies needed no upcaster of its own.
type shipped struct {
	Parcel string `json:"parcel"`
	Grams  int    `json:"grams"`
}

func (shipped) MessageName() string { return "orders.shipped.v4" }
func (shipped) MessageHistory() []sixfold.Former {
	return []sixfold.Former{
		{Name: "shipment", Upcast: replace(`"box"`, `"parcel"`)},
		{Name: "shipped"},
		{Name: "orders.shipped", Upcast: replace(`"g"`, `"grams"`)},
	}
}

func replace(from, to string) func([]byte) ([]byte, error) {
	return func(body []byte) ([]byte, error) {
		if !bytes.Contains(body, []byte(from)) && !bytes.Contains(body, []byte(to)) {
			return nil, fmt.Errorf("no %s", from)
		}
		return bytes.ReplaceAll(body, []byte(from), []byte(to)), nil
	}
}

// onPointer has its methods on the pointer.
type onPointer struct{}

func (*onPointer) MessageName() string { return "orders.on_pointer" }

// named lets a test choose the name.
type named struct{ name string }

func (n named) MessageName() string { return n.name }

// borrowed has no name of its own: its zero value panics.
type borrowed struct{ *placed }

// anyBody lets a test choose what is encoded.
type anyBody struct{ V any }

func (anyBody) MessageName() string { return "tests.any" }

// linked can point at itself.
type linked struct{ Next *linked }

func (linked) MessageName() string { return "tests.linked" }

type badHistory struct{}

func (badHistory) MessageName() string { return "a" }
func (badHistory) MessageHistory() []sixfold.Former {
	return []sixfold.Former{{Name: "a"}, {Name: "b"}, {Name: "b"}, {Name: ""}, {Name: "c d"}}
}

type charge struct {
	sixfold.Returns[int] `json:"-"`
	Cents                int
}

func (charge) MessageName() string { return "payments.charge" }

type balance struct {
	sixfold.Returns[string] `json:"-"`
}

func (balance) MessageName() string { return "payments.balance" }

var (
	_ sixfold.Keyed         = placed{}
	_ sixfold.Evolved       = shipped{}
	_ sixfold.Command[int]  = charge{}
	_ sixfold.Query[string] = balance{}
	_ sixfold.Query[int]    = charge{} // commands and queries differ in meaning only
	_ sixfold.Message       = (*placed)(nil)
	_ sixfold.Runnable      = sixfold.RunFunc(nil)
	_ fmt.Stringer          = (*sixfold.Envelope)(nil)
	_ fmt.GoStringer        = (*sixfold.Envelope)(nil)
	_ sixfold.BatchHandler  = nil
)
