// Package hand has what tests do with a transport by hand, without a publisher or a consumer.
package hand

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// patience is for one call: servers on a machine with other work are slow.
const patience = 60 * time.Second

// Open opens a sender.
func Open(tb testing.TB, t bus.Transport) bus.Sender {
	tb.Helper()
	s, err := t.Open(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// Subscribe opens a source.
func Subscribe(tb testing.TB, t bus.Transport, sub bus.Subscription) bus.Source {
	tb.Helper()
	s, err := t.Subscribe(tb.Context(), sub)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// Messages makes one for each "key/body", whose body is all of that.
func Messages(topic string, texts ...string) []bus.Outgoing {
	out := make([]bus.Outgoing, len(texts))
	for i, text := range texts {
		key, _, _ := strings.Cut(text, "/")
		out[i] = bus.Outgoing{Topic: topic, Envelope: &sixfold.Envelope{ID: sixfold.NewID(), Source: "hand", Type: "test", Key: key, Time: time.Now().UTC(),
			ContentType: "text/plain", Body: []byte(text)}}
	}
	return out
}

// Send sends and answers what became of each.
func Send(tb testing.TB, s bus.Sender, batch ...bus.Outgoing) []error {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	return s.Send(ctx, batch).Wait(ctx)
}

// MustSend sends.
func MustSend(tb testing.TB, s bus.Sender, batch ...bus.Outgoing) {
	tb.Helper()
	if err := errors.Join(Send(tb, s, batch...)...); err != nil {
		tb.Fatal(err)
	}
}

// Receive takes at least n deliveries.
func Receive(tb testing.TB, src bus.Source, n int) []*bus.Delivery {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	var all []*bus.Delivery
	for len(all) < n {
		ds, err := src.Receive(ctx, 1000)
		if err != nil {
			tb.Fatalf("%d of %d came: %v: %v", len(all), n, Bodies(all), err)
		}
		all = append(all, ds...)
	}
	return all
}

// Settle settles.
func Settle(tb testing.TB, src bus.Source, ds ...*bus.Delivery) {
	tb.Helper()
	if err := errors.Join(TrySettle(tb, src, false, ds...)...); err != nil {
		tb.Fatal(err)
	}
}

// TrySettle settles, or releases, and answers what became of each.
func TrySettle(tb testing.TB, src bus.Source, release bool, ds ...*bus.Delivery) []error {
	tb.Helper()
	ss := make([]bus.Settlement, len(ds))
	for i, d := range ds {
		ss[i] = bus.Settlement{Delivery: d, Release: release}
	}
	return src.Settle(tb.Context(), ss)
}

// Bodies are the bodies as texts.
func Bodies(ds []*bus.Delivery) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = string(d.Body)
	}
	return out
}
