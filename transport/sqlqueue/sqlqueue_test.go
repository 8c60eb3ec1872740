package sqlqueue_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

// fake takes what is sent. Each statement waits for a turn, if there are turns.
type fake struct {
	mu         sync.Mutex
	statements [][]outbox.Row
	missing    map[string]bool
	fails      error
	turns      chan struct{}
}

func (f *fake) Send(ctx context.Context, rows []outbox.Row) (missing []string, err error) {
	if f.turns != nil {
		select {
		case <-f.turns:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails != nil {
		return nil, f.fails
	}
	for _, r := range rows {
		if f.missing[r.Topic] {
			return []string{r.Topic}, nil
		}
	}
	f.statements = append(f.statements, rows)
	return nil, nil
}

func (f *fake) Attach(context.Context, string, string, string, bool) (outbox.Store, string, error) {
	return nil, "", errors.New("nobody attaches here")
}
func (f *fake) Detach(context.Context, string, string, string) (bool, error) { return false, nil }
func (f *fake) Keep(context.Context, string, time.Duration) error            { return nil }
func (f *fake) Check(context.Context) ([]string, error)                      { return nil, nil }

func open(t *testing.T, f *fake) bus.Sender {
	t.Helper()
	broker, err := sqlqueue.New(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Close(context.Background()) })
	s, err := broker.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func message(topic, key string) bus.Outgoing {
	return bus.Outgoing{Topic: topic, Envelope: &sixfold.Envelope{ID: sixfold.NewID(), Source: "test", Type: "test", Key: key, Body: []byte("{}")}}
}

func TestNewRefusesNonsense(t *testing.T) {
	_, err := sqlqueue.New(nil, &sqlqueue.Options{Lease: time.Millisecond, Poll: -1, Sweep: -1, Batch: 20_000, Priority: map[string]int{"a b": 1},
		Groups: []bus.Subscription{{}, {Topics: []string{"orders", "orders"}, Group: "g\x00"}}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"the store is nil", "Lease is 1ms", "Poll is -1ns", "Sweep is -1ns", "Batch is 20000", `"a b"`, "there is no topic", "number 1 has no group", "named twice", "NUL"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	var none *store.Broker
	if _, err := sqlqueue.New(none, nil); err == nil || !strings.Contains(err.Error(), "the broker is nil") {
		t.Errorf("a nil broker: %v", err)
	}
}

func TestBadMessagesAreRefusedAlone(t *testing.T) {
	f := &fake{}
	s := open(t, f)
	long, noID, null, latin, big := message("orders", strings.Repeat("k", 10)), message("orders", ""), message("orders", "a\x00"), message("orders", ""), message("orders", "")
	long.ID, noID.ID = strings.Repeat("i", 256), ""
	latin.Headers = map[string]string{"h": "\xff"}
	big.Body = make([]byte, sqlqueue.MaxBody+1)
	errs := s.Send(t.Context(), []bus.Outgoing{long, noID, null, latin, big, {Topic: "orders"}, message("a b", ""), message("orders", "good")}).Wait(t.Context())
	for i, err := range errs {
		want := bus.ErrRefused
		switch i {
		case 4:
			want = bus.ErrTooLarge
		case len(errs) - 1:
			want = nil
		}
		if !errors.Is(err, want) {
			t.Errorf("number %d: %v, want %v", i, err, want)
		}
	}
}

// Batches that are handed over while a statement runs go together in the next, in their order. guarantees: R4
func TestBatchesGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{turns: make(chan struct{})}
		s := open(t, f)
		var pending []bus.Pending
		for _, key := range []string{"a", "b", "c", "d"} {
			pending = append(pending, s.Send(t.Context(), []bus.Outgoing{message("orders", key)}))
			synctest.Wait()
		}
		f.turns <- struct{}{}
		f.turns <- struct{}{}
		for _, p := range pending {
			if err := errors.Join(p.Wait(t.Context())...); err != nil {
				t.Error(err)
			}
		}
		if len(f.statements) != 2 || len(f.statements[1]) != 3 || f.statements[1][0].Key != "b" || f.statements[1][2].Key != "d" {
			t.Errorf("%d statements", len(f.statements))
		}
	})
}

// What a key has behind an unroutable message fails, also what was handed over before that was known; what it has before it
// does not. guarantees: R4, R6 [PrefixAfterFailure]
func TestBehindTheUnroutable(t *testing.T) {
	f := &fake{missing: map[string]bool{"nowhere": true}}
	s := open(t, f)
	may := message("nowhere", "m")
	may.MayMiss = true
	errs := s.Send(t.Context(), []bus.Outgoing{message("orders", "k"), message("nowhere", "k"), message("orders", "k"), message("orders", "l"), may, message("orders", "m")}).Wait(t.Context())
	for i, want := range []error{nil, bus.ErrUnroutable, bus.ErrBehindFailed, nil, bus.ErrUnroutable, nil} {
		if !errors.Is(errs[i], want) {
			t.Errorf("number %d: %v, want %v", i, errs[i], want)
		}
	}
	if errs := s.Send(t.Context(), []bus.Outgoing{message("orders", "k"), message("orders", "m")}).Wait(t.Context()); !errors.Is(errs[0], bus.ErrBehindFailed) || errs[1] != nil {
		t.Errorf("later: %v", errs)
	}
}

// A statement that fails ends the sender: what comes after it fails too, although the database is back. guarantees: R7
func TestFailedStatementEndsTheSender(t *testing.T) {
	f := &fake{fails: errors.New("the disk is full")}
	s := open(t, f)
	for range 2 {
		for _, err := range s.Send(t.Context(), []bus.Outgoing{message("orders", "k"), message("orders", "")}).Wait(t.Context()) {
			if !errors.Is(err, bus.ErrUnavailable) {
				t.Errorf("%v", err)
			}
		}
		f.mu.Lock()
		f.fails = nil
		f.mu.Unlock()
	}
	if len(f.statements) != 0 {
		t.Error("it went on")
	}
}
