package mediator_test

import (
	"context"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
)

func TestRoutesOfConsumers(t *testing.T) {
	var got []string
	m := newMediator(t, nil,
		mediator.OnCommand(func(ctx context.Context, c create) (string, error) {
			got = append(got, c.Customer, sixfold.InfoFrom(ctx).Consumer)
			return "nobody takes it", nil
		}),
		mediator.OnNotification(func(_ context.Context, n placed) error { got = append(got, n.ID); return errMail }))
	ctx := sixfold.WithInfo(t.Context(), &sixfold.Info{Consumer: "shipping"})
	r := mediator.CommandRoute(m, create{})
	if err := r.Err(); err != nil || r.Name != "orders.create" {
		t.Fatalf("%s, %v", r.Name, err)
	}
	if err := r.Handler()(ctx, &sixfold.Envelope{Type: "orders.create", Body: []byte(`{"Customer":"c-1"}`)}); err != nil {
		t.Error(err)
	}
	err := mediator.NotificationRoute(m, placed{}).Handler()(ctx, &sixfold.Envelope{Type: "orders.placed", Body: []byte(`{"ID":"o-1"}`)})
	says(t, err, errMail)
	if len(got) != 3 || got[0] != "c-1" || got[1] != "shipping" || got[2] != "o-1" {
		t.Errorf("%q", got)
	}
}

func TestRoutesOfConsumersWithoutHandler(t *testing.T) {
	m := newMediator(t, nil, mediator.OnQuery(onFind))
	says(t, mediator.CommandRoute(m, create{}).Err(), mediator.ErrNoHandler, "orders.create")
	says(t, mediator.CommandRoute(m, find{}).Err(), mediator.ErrKind)
	says(t, mediator.NotificationRoute(m, placed{}).Err(), mediator.ErrNoHandler, "orders.placed")
	says(t, mediator.NotificationRoute(nil, placed{}).Err(), sixfold.ErrInvalid, "the mediator is nil")
}
