package claimcheck_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/claimcheck"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// blobs is a store in memory that can fail.
type blobs struct {
	mu       sync.Mutex
	m        map[string][]byte
	puts     int
	down     error                    // for every call
	refuse   func(data []byte) error  // for Put
	lose     func(name string) error  // for Get
	gets     chan struct{}            // told of each Get, if not nil
	tampered func(data []byte) []byte // for Get
}

func newBlobs() *blobs { return &blobs{m: make(map[string][]byte)} }

func (b *blobs) Put(_ context.Context, name string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.puts++
	if b.down != nil {
		return b.down
	}
	if b.refuse != nil {
		if err := b.refuse(data); err != nil {
			return err
		}
	}
	b.m[name] = bytes.Clone(data)
	return nil
}

func (b *blobs) Get(_ context.Context, name string, max int) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gets != nil {
		select {
		case b.gets <- struct{}{}:
		default:
		}
	}
	if b.down != nil {
		return nil, b.down
	}
	if b.lose != nil {
		if err := b.lose(name); err != nil {
			return nil, err
		}
	}
	data, ok := b.m[name]
	if !ok {
		return nil, fmt.Errorf("blob %s: %w", name, fs.ErrNotExist)
	}
	if b.tampered != nil {
		data = b.tampered(data)
	}
	return bytes.Clone(data[:min(len(data), max)]), nil
}

func (b *blobs) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

var errDown = errors.New("the store is down")

// wrap makes a broker with topic "t" behind a claim check of 100 bytes.
func wrap(t *testing.T, store claimcheck.BlobStore, opts *claimcheck.Options) (*memory.Transport, *claimcheck.Transport) {
	t.Helper()
	broker := memory.New(&memory.Options{Topics: []string{"t"}, MaxBody: 1000})
	w, err := claimcheck.Wrap(broker, store, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(context.Background()) })
	return broker, w
}

func open(t *testing.T, w bus.Transport) bus.Sender {
	t.Helper()
	s, err := w.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func subscribe(t *testing.T, w bus.Transport, max int) bus.Source {
	t.Helper()
	s, err := w.Subscribe(t.Context(), bus.Subscription{Topics: []string{"t"}, Group: "g", Ordered: true, MaxInFlight: max})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func envelope(key, body string) *sixfold.Envelope {
	return &sixfold.Envelope{ID: sixfold.NewID(), Source: "test", Type: "test.message", Key: key, ContentType: "text/plain",
		Time: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC), Headers: map[string]string{"tenant": "a"}, Body: []byte(body)}
}

func send(t *testing.T, s bus.Sender, envs ...*sixfold.Envelope) []error {
	t.Helper()
	batch := make([]bus.Outgoing, len(envs))
	for i, e := range envs {
		batch[i] = bus.Outgoing{Topic: "t", Envelope: e}
	}
	return s.Send(t.Context(), batch).Wait(t.Context())
}

func mustSend(t *testing.T, s bus.Sender, envs ...*sixfold.Envelope) {
	t.Helper()
	if err := errors.Join(send(t, s, envs...)...); err != nil {
		t.Fatal(err)
	}
}

// receive takes n deliveries.
func receive(t *testing.T, s bus.Source, n int) (all []*bus.Delivery) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for len(all) < n {
		ds, err := s.Receive(ctx, n-len(all))
		if err != nil {
			t.Fatalf("after %d of %d: %v", len(all), n, err)
		}
		all = append(all, ds...)
	}
	return all
}

// nothing fails when a delivery comes within a moment.
func nothing(t *testing.T, s bus.Source) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if ds, _ := s.Receive(ctx, 10); len(ds) > 0 {
		t.Fatalf("%d deliveries came", len(ds))
	}
}

func settle(t *testing.T, s bus.Source, release bool, ds ...*bus.Delivery) {
	t.Helper()
	list := make([]bus.Settlement, len(ds))
	for i, d := range ds {
		list[i] = bus.Settlement{Delivery: d, Release: release}
	}
	if err := errors.Join(s.Settle(t.Context(), list)...); err != nil {
		t.Fatal(err)
	}
}

// large is a body over the broker's limit.
func large(of string) string { return strings.Repeat(of, 2000) }
