package sixfoldtest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/store/memory"
)

// Conversation is a saga or a flow: *saga.Saga or *flow.Flow.
type Conversation interface {
	Name() string
	Routes() []sixfold.Route
}

// A Rehearsal is a saga in the hands of a test, without a broker and without waiting: the test says what it is told and when time
// passes, and looks at what it sends. It belongs to one goroutine.
type Rehearsal struct {
	// Kit is the database that it works on.
	Kit
	// Doubled has every message come twice, and Crashing has every transaction that takes effect be rolled back at its end
	// once before, and its message come again after it, as when a process dies between commit and acknowledgement. What the saga
	// does has to be the same.
	Doubled, Crashing bool

	t      testing.TB
	name   string
	routes map[string]sixfold.Handler
	crash  bool
	now    time.Duration // virtual
	timers []timer       // that are set, and what is to be sent later
	known  map[string]bool
	seen   int                 // of what was published
	sent   []*sixfold.Envelope // since Given or When
	last   *sixfold.Envelope   // the last command
	told   []*sixfold.Envelope
}

type timer struct {
	due time.Duration
	env *sixfold.Envelope
}

// Saga makes a Rehearsal of the saga that define makes on the box that it is given. routes are those of the outbox: where messages
// go matters only in so far as they have to go somewhere.
//
//	s := sixfoldtest.Saga(t, func(box *saga.Box[*memory.Tx]) (sixfoldtest.Conversation, error) { return Fulfilment(box) },
//		outbox.To("stock", ReserveStock{}, ReleaseStock{}), outbox.ToConsumer("orders", flow.Timer("fulfilment")))
//	s.Given(OrderPlaced{Number: "7"})
//	s.Answer(StockReserved{Number: "7"})
//	s.Then(TakePayment{Number: "7"})
//	s.Advance(time.Hour)
//	s.Is("7", saga.Compensated)
func Saga(t testing.TB, define func(box *saga.Box[*memory.Tx]) (Conversation, error), routes ...outbox.Route) *Rehearsal {
	t.Helper()
	begun := time.Now() // the database's clock stands still, so that timers of the same length are due together, on any machine
	s := &Rehearsal{Kit: *kit(memory.New(&memory.Options{Clock: func() time.Time { return begun }})), t: t, routes: map[string]sixfold.Handler{}, known: map[string]bool{}}
	run := s.DB.Run
	s.DB.Run = func(ctx context.Context, fn func(*memory.Tx) error) error {
		return run(ctx, func(tx *memory.Tx) error {
			if err := fn(tx); err != nil || !s.crash {
				return err
			}
			return errCrash
		})
	}
	s.DB.CommitWith = nil
	quiet := slog.New(slog.DiscardHandler)
	out, err := outbox.New(s.Outbox, nil, routes...)
	s.must("outbox", err)
	in, err := inbox.New(s.DB, s.Inbox, &inbox.Options{Logger: quiet})
	s.must("inbox", err)
	box, err := saga.NewBox(in, out, s.Store.Sagas(), &saga.Options{Logger: quiet})
	s.must("box", err)
	c, err := define(box)
	s.must("define", err)
	s.name = c.Name()
	for _, r := range c.Routes() {
		s.must("route", r.Err())
		for _, name := range append([]string{r.Name}, r.Former...) {
			s.routes[name] = r.Handler()
		}
	}
	return s
}

var errCrash = errors.New("sixfoldtest: the process dies before the commit")

func (s *Rehearsal) must(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("sixfoldtest: saga: %s: %v", what, err)
	}
}

// Given tells the saga what came before, and forgets what it sent.
func (s *Rehearsal) Given(ms ...sixfold.Message) {
	s.t.Helper()
	for _, m := range ms {
		s.When(m)
	}
	s.sent = nil
}

// When tells the saga a message, which belongs to nothing that it has sent. What was sent before is forgotten. A step that fails ends the
// test; Try does not.
func (s *Rehearsal) When(m sixfold.Message) {
	s.t.Helper()
	s.must("step", s.Try(m))
}

// Try is When for a step that may fail.
func (s *Rehearsal) Try(m sixfold.Message) error {
	s.t.Helper()
	s.sent = nil
	return s.Deliver(s.envelope(s.t.Context(), m))
}

// Answer tells the saga the answer to the last message that it has sent.
func (s *Rehearsal) Answer(m sixfold.Message) {
	s.t.Helper()
	if s.last == nil {
		s.t.Fatalf("sixfoldtest: saga: answer %s: nothing was sent yet", m.MessageName())
	}
	s.AnswerTo(s.last, m)
}

// AnswerTo tells the saga the answer to a message that it has sent, as late as the test likes.
func (s *Rehearsal) AnswerTo(sent *sixfold.Envelope, m sixfold.Message) {
	s.t.Helper()
	s.sent = nil
	s.must("step", s.Deliver(s.Reply(sent, m)))
}

// Reply makes the envelope of an answer without telling it, for Deliver.
func (s *Rehearsal) Reply(sent *sixfold.Envelope, m sixfold.Message) *sixfold.Envelope {
	s.t.Helper()
	return s.envelope(sixfold.WithInfo(s.t.Context(), &sixfold.Info{Envelope: sent, Consumer: "participant", Attempt: 1}), m)
}

func (s *Rehearsal) envelope(ctx context.Context, m sixfold.Message) *sixfold.Envelope {
	s.t.Helper()
	env, err := sixfold.NewEnvelope(ctx, "test", nil, m)
	s.must("message", err)
	return env
}

// Again tells the saga once more all that it was ever told and took in, timers included. Nothing may come of it.
func (s *Rehearsal) Again() {
	s.t.Helper()
	s.sent = nil
	for _, env := range slices.Clone(s.told) {
		s.must("step", s.Deliver(env))
	}
}

// Deliver hands an envelope to its step, as a consumer would.
func (s *Rehearsal) Deliver(env *sixfold.Envelope) error {
	s.t.Helper()
	h := s.routes[env.Type]
	if h == nil {
		s.t.Fatalf("sixfoldtest: saga %s has no step for %s", s.name, env.Type)
	}
	handle := func() error {
		return h(sixfold.WithInfo(s.t.Context(), &sixfold.Info{Envelope: env, Consumer: s.name, Attempt: 1}), env)
	}
	if s.Crashing {
		s.crash = true
		err := handle()
		s.crash = false
		if err != nil && !errors.Is(err, errCrash) {
			return err
		}
	}
	err := handle()
	if err == nil && (s.Doubled || s.Crashing) {
		err = handle()
	}
	if err == nil && !slices.Contains(s.told, env) { // else nothing of it was taken in
		s.told = append(s.told, env)
	}
	s.look()
	return err
}

// look notes what was sent, and what waits for its time.
func (s *Rehearsal) look() {
	s.t.Helper()
	all, err := s.Outbox.All(s.t.Context())
	s.must("look at what was sent", err)
	ids := map[string]bool{}
	for _, p := range all[s.seen:] {
		if !ids[p.Envelope.ID] {
			ids[p.Envelope.ID] = true
			s.sent = append(s.sent, p.Envelope)
			s.last = p.Envelope
		}
	}
	s.seen = len(all)
	waiting := map[string]bool{}
	for next := (schedule.DelayedPage{Limit: 1000}); ; {
		list, err := s.Store.Schedule().Delayed().List(s.t.Context(), next)
		s.must("look at timers", err)
		for i := range list {
			w := &list[i]
			next.After, next.AfterN = w.At, w.N
			waiting[w.ID] = true
			if s.known[w.ID] {
				continue
			}
			s.known[w.ID] = true
			env := &sixfold.Envelope{ID: w.ID, Key: w.Key, Body: w.Body}
			_, err := outbox.DecodeAttrs(w.Attrs, env)
			s.must("look at timers", err)
			s.timers = append(s.timers, timer{s.now + w.In, env})
		}
		if len(list) < next.Limit {
			break
		}
	}
	s.timers = slices.DeleteFunc(s.timers, func(t timer) bool { return !waiting[t.env.ID] })
	slices.SortStableFunc(s.timers, func(a, b timer) int { return cmp.Compare(a.due, b.due) })
}

// Advance lets time pass at once, and tells the saga its timers when they are due. What it had sent with a delay is sent then. What was
// sent before is forgotten. No clock moves: a step that asks for the time gets that of the machine.
func (s *Rehearsal) Advance(d time.Duration) {
	s.t.Helper()
	s.sent = nil
	end := s.now + d
	for len(s.timers) > 0 && s.timers[0].due <= end {
		s.fire()
	}
	s.now = end
}

// fire tells the saga its next timer, or sends what was to be sent later.
func (s *Rehearsal) fire() {
	s.t.Helper()
	next := s.timers[0]
	s.timers = s.timers[1:]
	s.now = max(s.now, next.due)
	if s.routes[next.env.Type] == nil { // it is for somebody else
		s.sent, s.last = append(s.sent, next.env), next.env
		return
	}
	s.must("timer", s.Deliver(next.env))
	s.timers = slices.DeleteFunc(s.timers, func(t timer) bool { return t.env == next.env })
}

// Sent are the messages that the saga has sent since it was told something, in their order. Timers are not among them, and what has a
// delay comes when Advance reaches its time.
func (s *Rehearsal) Sent() []*sixfold.Envelope { return slices.Clone(s.sent) }

// Then fails the test unless exactly these messages were sent since the saga was told something, in this order.
func (s *Rehearsal) Then(want ...sixfold.Message) {
	s.t.Helper()
	var got, wanted []string
	for _, env := range s.sent {
		got = append(got, env.Type+" "+string(env.Body))
	}
	for _, m := range want {
		body, err := json.Marshal(m)
		s.must("message", err)
		wanted = append(wanted, m.MessageName()+" "+string(bytes.TrimSpace(body)))
	}
	if !slices.Equal(got, wanted) {
		s.t.Errorf("saga %s has sent\n\t%s\nwanted\n\t%s", s.name, strings.Join(got, "\n\t"), strings.Join(wanted, "\n\t"))
	}
}

// Is fails the test unless the last instance of a key has a status.
func (s *Rehearsal) Is(key string, want saga.Status) {
	s.t.Helper()
	in := s.Instance(key)
	switch {
	case in == nil:
		s.t.Errorf("saga %s has no instance %q", s.name, key)
	case in.Status != want:
		s.t.Errorf("instance %q of saga %s is %v, not %v (%s)", key, s.name, in.Status, want, in.Reason)
	}
}

// Instance is the last one of a key, with its state; nil: there is none.
func (s *Rehearsal) Instance(key string) *saga.Instance {
	s.t.Helper()
	list, err := s.Store.Sagas().Records().List(s.t.Context(), saga.Filter{Saga: s.name, Key: key, Full: true}, saga.Page{Limit: 10_000})
	s.must("look at the instance", err)
	if len(list) == 0 {
		return nil
	}
	return &list[len(list)-1]
}

// StateOf is the state of the last instance of a key.
func StateOf[S any](s *Rehearsal, key string) (state S) {
	s.t.Helper()
	in := s.Instance(key)
	if in == nil {
		s.t.Fatalf("saga %s has no instance %q", s.name, key)
	}
	s.must("read the state", json.Unmarshal(in.State, &state))
	return state
}
