package bustest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// A probe is one running case. Its helpers check no more than the case needs, so that one broken sentence fails one
// case: they take more deliveries than asked for, empty answers, and errors of any kind where an error is due.
type probe struct {
	testing.TB
	c   Case
	cfg Config
	h   Harness
	t   bus.Transport // the first connection
	n   int           // envelopes made so far
}

// fail explains.
func (p *probe) fail(format string, args ...any) {
	p.Helper()
	p.Fatalf("%s\n\tthe contract says: %s\n\twhat happened:     %s\n\twhat to do:        %s",
		p.c.Name, p.c.Says, fmt.Sprintf(format, args...), p.c.Advice)
}

// within bounds a call of the driver: its context ends after the patience, and it is given up after twice that.
func within[T any](p *probe, d time.Duration, what string, f func(ctx context.Context) T) T {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), d)
	defer cancel()
	result := make(chan T, 1)
	go func() { result <- f(ctx) }()
	limit, end := context.WithTimeout(p.Context(), d+p.cfg.Patience)
	defer end()
	select {
	case r := <-result:
		return r
	case <-limit.Done():
		p.fail("%s did not return within %v, although its context ended after %v", what, d+p.cfg.Patience, d)
		panic("unreachable")
	}
}

type opened[T any] struct {
	v   T
	err error
}

func connect(tb testing.TB, h Harness) bus.Transport {
	tb.Helper()
	t := h.Connect(tb)
	tb.Cleanup(func() { t.Close(context.Background()) })
	return t
}

// another is a transport of another process.
func (p *probe) another() bus.Transport {
	p.Helper()
	return connect(p.TB, p.h)
}

func (p *probe) tryOpen(t bus.Transport) (bus.Sender, error) {
	p.Helper()
	r := within(p, p.cfg.Patience, "Open", func(ctx context.Context) opened[bus.Sender] {
		s, err := t.Open(ctx)
		return opened[bus.Sender]{s, err}
	})
	return r.v, r.err
}

func (p *probe) open() bus.Sender {
	p.Helper()
	s, err := p.tryOpen(p.t)
	if err != nil {
		p.fail("Open failed: %v", err)
	}
	return s
}

func (p *probe) trySubscribe(t bus.Transport, sub bus.Subscription) (bus.Source, error) {
	p.Helper()
	r := within(p, p.cfg.Patience, "Subscribe", func(ctx context.Context) opened[bus.Source] {
		s, err := t.Subscribe(ctx, sub)
		return opened[bus.Source]{s, err}
	})
	return r.v, r.err
}

func (p *probe) subscribe(t bus.Transport, sub bus.Subscription) bus.Source {
	p.Helper()
	s, err := p.trySubscribe(t, sub)
	if err != nil {
		p.fail("Subscribe%s failed: %v", describe(sub), err)
	}
	return s
}

func describe(s bus.Subscription) string {
	return fmt.Sprintf("(topics %q, group %q, ordered %v, in flight %d)", s.Topics, s.Group, s.Ordered, s.MaxInFlight)
}

// group is a subscription of one topic by the group of the case.
func group(topic string) bus.Subscription {
	return bus.Subscription{Topics: []string{topic}, Group: "conformance"}
}

func ordered(topic string) bus.Subscription {
	s := group(topic)
	s.Ordered = true
	return s
}

// envelope makes one with an id that no other has.
func (p *probe) envelope(key string) *sixfold.Envelope {
	p.n++
	return &sixfold.Envelope{ID: sixfold.NewID(), Source: "bustest", Type: "bustest.case", Key: key,
		Time: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC), ContentType: "text/plain", Body: fmt.Appendf(nil, "%s/%d", key, p.n)}
}

// batch makes an envelope per key.
func (p *probe) batch(topic string, keys ...string) []bus.Outgoing {
	out := make([]bus.Outgoing, len(keys))
	for i, k := range keys {
		out[i] = bus.Outgoing{Topic: topic, Envelope: p.envelope(k)}
	}
	return out
}

// repeat answers n times key.
func repeat(key string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = key
	}
	return out
}

// hand is Send without Wait.
func (p *probe) hand(s bus.Sender, batch ...bus.Outgoing) bus.Pending {
	p.Helper()
	return within(p, p.cfg.Patience, "Send", func(ctx context.Context) bus.Pending { return s.Send(ctx, batch) })
}

func (p *probe) wait(pending bus.Pending) []error {
	p.Helper()
	return within(p, p.cfg.Patience, "Wait", pending.Wait)
}

func (p *probe) send(s bus.Sender, batch ...bus.Outgoing) []error {
	p.Helper()
	return p.wait(p.hand(s, batch...))
}

func (p *probe) mustSend(s bus.Sender, batch ...bus.Outgoing) {
	p.Helper()
	if err := errors.Join(p.send(s, batch...)...); err != nil {
		p.fail("sending what nothing is wrong with failed: %v", err)
	}
}

// redelivery is how long to wait for what has to come again: a busy machine may take longer than the broker.
func (p *probe) redelivery() time.Duration { return max(p.cfg.Patience, p.cfg.RedeliverWithin) }

// receive takes deliveries until it has at least n.
func (p *probe) receive(src bus.Source, n int) []*bus.Delivery {
	p.Helper()
	all, err := p.collect(src, n, p.redelivery())
	if len(all) < n {
		p.fail("%d of %d deliveries arrived within %v: %s; Receive: %v", len(all), n, p.redelivery(), bodies(all), err)
	}
	return all
}

// collect takes deliveries until it has at least n or d has passed.
func (p *probe) collect(src bus.Source, n int, d time.Duration) ([]*bus.Delivery, error) {
	p.Helper()
	r := within(p, d, "Receive", func(ctx context.Context) received {
		var r received
		for len(r.ds) < n && r.err == nil && ctx.Err() == nil {
			var ds []*bus.Delivery
			ds, r.err = src.Receive(ctx, 1000)
			r.ds = append(r.ds, ds...)
		}
		return r
	})
	return r.ds, r.err
}

// arrive waits until all of a batch has been delivered, where some of it may be delivered again meanwhile.
func (p *probe) arrive(src bus.Source, batch []bus.Outgoing) []*bus.Delivery {
	p.Helper()
	all, err := p.collectAll(src, batch, p.redelivery())
	if got := len(ids(all)); got < len(batch) {
		p.fail("%d of %d messages arrived within %v: %s; Receive: %v", got, len(batch), p.redelivery(), bodies(all), err)
	}
	return all
}

// collectAll takes deliveries until all of a batch is among them, or d has passed.
func (p *probe) collectAll(src bus.Source, batch []bus.Outgoing, d time.Duration) ([]*bus.Delivery, error) {
	p.Helper()
	var all []*bus.Delivery
	for end := time.Now().Add(d); ; {
		ds, err := p.collect(src, len(batch)-len(ids(all)), time.Until(end))
		all = append(all, ds...)
		if err != nil || len(ids(all)) >= len(batch) || time.Now().After(end) {
			return all, err
		}
	}
}

// isOurs reports whether a delivery is its member's, as far as that one knows.
func isOurs(d *bus.Delivery) bool { return d.Owned == nil || d.Owned.Err() == nil }

// await waits for the end of a background Receive.
func (p *probe) await(got <-chan received) received {
	p.Helper()
	limit, cancel := context.WithTimeout(p.Context(), 5*p.cfg.Patience)
	defer cancel()
	select {
	case r := <-got:
		return r
	case <-limit.Done():
		p.fail("a blocked Receive did not return within %v", 5*p.cfg.Patience)
		panic("unreachable")
	}
}

type received struct {
	ds  []*bus.Delivery
	err error
}

// background runs a Receive beside the case, and waits for its end when the case ends. Its context lasts long enough for
// the steps that a case takes meanwhile.
func (p *probe) background(receive func(ctx context.Context) ([]*bus.Delivery, error)) <-chan received {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), 4*p.cfg.Patience)
	got := make(chan received, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ds, err := receive(ctx)
		got <- received{ds, err}
	}()
	p.Cleanup(func() {
		cancel()
		limit, end := context.WithTimeout(context.Background(), p.cfg.Patience)
		defer end()
		select {
		case <-ended:
		case <-limit.Done(): // the driver ignores contexts; a case of its own says so
		}
	})
	return got
}

// listen waits for a while for what should not come yet.
func (p *probe) listen(got <-chan received) (r received, ended bool) {
	p.Helper()
	quiet, cancel := context.WithTimeout(p.Context(), p.cfg.Quiet)
	defer cancel()
	select {
	case r = <-got:
		return r, true
	case <-quiet.Done():
		return r, false
	}
}

// nothing listens for a while and fails when something comes.
func (p *probe) nothing(src bus.Source, when string) {
	p.Helper()
	if ds, _ := p.collect(src, 1, p.cfg.Quiet); len(ds) > 0 {
		p.fail("%s, %d deliveries came: %s", when, len(ds), bodies(ds))
	}
}

func (p *probe) settle(src bus.Source, ds ...*bus.Delivery) {
	p.Helper()
	if err := errors.Join(p.trySettle(src, false, ds...)...); err != nil {
		p.fail("acknowledging deliveries that are ours failed: %v", err)
	}
}

func (p *probe) release(src bus.Source, ds ...*bus.Delivery) {
	p.Helper()
	if err := errors.Join(p.trySettle(src, true, ds...)...); err != nil {
		p.fail("releasing deliveries that are ours failed: %v", err)
	}
}

func (p *probe) trySettle(src bus.Source, release bool, ds ...*bus.Delivery) []error {
	p.Helper()
	s := make([]bus.Settlement, len(ds))
	for i, d := range ds {
		s[i] = bus.Settlement{Delivery: d, Release: release}
	}
	return within(p, p.cfg.Patience, "Settle", func(ctx context.Context) []error { return src.Settle(ctx, s) })
}

func (p *probe) close(what string, f func(context.Context) error) {
	p.Helper()
	if err := within(p, p.cfg.Patience, "Close of the "+what, f); err != nil {
		p.fail("Close of the %s failed: %v", what, err)
	}
}

// bodies lists deliveries for people; the suite's own bodies are no secret.
func bodies(ds []*bus.Delivery) string {
	var b strings.Builder
	for i, d := range ds {
		if i == 20 {
			fmt.Fprintf(&b, " … and %d more", len(ds)-i)
			break
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%.40q", d.Body)
	}
	return "[" + b.String() + "]"
}

func ids(ds []*bus.Delivery) map[string]int {
	m := make(map[string]int, len(ds))
	for _, d := range ds {
		m[d.ID]++
	}
	return m
}
