package sqlqueue_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/requesttest"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

// table is a database of requests in memory, in the words of sqlqueue.RequestStore.
type table struct {
	bell outbox.Bell

	mu     sync.Mutex
	places map[[2]string]time.Time // by place and address
	rows   []row
	down   bool
	looks  int
}

type row struct {
	address       string
	head, body    []byte
	sent, expires time.Time
}

// way is one process's connection to a table.
type way struct {
	*table
	mu  sync.Mutex
	cut bool
}

func newTable() *table { return &table{places: make(map[[2]string]time.Time)} }

func (w *way) lost() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	if w.cut || w.down {
		return bus.ErrUnavailable
	}
	return nil
}

func (w *way) Stay(_ context.Context, place string, addresses []string, ttl time.Duration) error {
	if err := w.lost(); err != nil {
		return err
	}
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	for _, a := range addresses {
		w.places[[2]string{place, a}] = time.Now().Add(ttl)
	}
	return nil
}

func (w *way) Leave(_ context.Context, place string, addresses []string) error {
	if err := w.lost(); err != nil {
		return err
	}
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	for _, a := range addresses {
		delete(w.places, [2]string{place, a})
	}
	return nil
}

func (w *way) Put(_ context.Context, address string, all bool, head, body []byte, keep time.Duration) (n int, err error) {
	if err := w.lost(); err != nil {
		return 0, err
	}
	w.table.mu.Lock()
	defer w.table.mu.Unlock()
	for at, until := range w.places {
		if at[1] != address || !until.After(time.Now()) || !all && n == 1 {
			continue
		}
		to := address
		if all {
			to = at[0]
		}
		w.rows = append(w.rows, row{to, slices.Clone(head), slices.Clone(body), time.Now(), time.Now().Add(keep)})
		n++
	}
	w.bell.Ring(outbox.Now)
	return n, nil
}

func (w *way) Take(_ context.Context, place string, limit int, hand func(string, []byte, []byte, time.Duration)) (int, error) {
	w.table.mu.Lock()
	w.looks++
	w.table.mu.Unlock()
	if err := w.lost(); err != nil {
		return 0, err
	}
	w.table.mu.Lock()
	var taken []row
	w.rows = slices.DeleteFunc(w.rows, func(r row) bool {
		_, mine := w.places[[2]string{place, r.address}]
		if mine = mine && r.expires.After(time.Now()) && len(taken) < limit; mine {
			taken = append(taken, r)
		}
		return mine
	})
	w.table.mu.Unlock()
	for _, r := range taken {
		hand(r.address, r.head, r.body, time.Since(r.sent))
	}
	return len(taken), nil
}

func (w *way) Bell() *outbox.Bell { return &w.bell }

func (t *table) lane(tb testing.TB, w *way) *sqlqueue.RequestLane {
	tb.Helper()
	l, err := sqlqueue.NewRequestLane(w, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// In a bubble, so that outcomes are held to 100 ms after the deadline. guarantees: Q1, Q2, Q3, Q4, Q5, Q6
func TestRequestLane(t *testing.T) {
	for _, c := range requesttest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := newTable()
				ways := map[request.Lane]*way{}
				down := func(is bool) { db.mu.Lock(); defer db.mu.Unlock(); db.down = is }
				c.Check(t, requesttest.Config{Slack: 100 * time.Millisecond}, func(tb testing.TB) requesttest.Harness {
					return requesttest.Harness{
						Connect: func(tb testing.TB) request.Lane {
							w := &way{table: db}
							l := db.lane(tb, w)
							ways[l] = w
							return l
						},
						NewDestination: func(testing.TB) string { return "doubles" },
						Cut:            func(testing.TB) { down(true) },
						Restore:        func(testing.TB) { down(false) },
						Kill: func(_ testing.TB, l request.Lane) {
							ways[l].mu.Lock()
							defer ways[l].mu.Unlock()
							ways[l].cut = true
						},
						Put: func(tb testing.TB, to string, p *request.Packet) {
							head, err := sqlqueue.RequestHead(p, p.ReplyTo)
							if err != nil {
								tb.Fatal(err)
							}
							if n, err := (&way{table: db}).Put(tb.Context(), "request/"+to, false, head, p.Envelope.Body, time.Minute); n != 1 || err != nil {
								tb.Fatal(n, err)
							}
						},
					}
				})
			})
		})
	}
}

// Who waits for nothing looks once a second; who died is not there any more after its lease.
func TestQuietRequestLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newTable()
		dead := &way{table: db}
		ear, err := db.lane(t, dead).Listen(t.Context(), []string{"a", "b"}, request.Requests{Take: func(string, *request.Packet) {}, Lost: func(error) {}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // of the bubble
		db.mu.Lock()
		looks := db.looks
		db.mu.Unlock()
		if looks < 59 || looks > 72 {
			t.Errorf("it looked %d times in a minute", looks)
		}
		dead.mu.Lock()
		dead.cut = true
		dead.mu.Unlock()
		undelivered := make(chan string, 10)
		port, err := db.lane(t, &way{table: db}).Open(t.Context(), request.Replies{Undeliverable: func(id string) { undelivered <- id }})
		if err != nil {
			t.Fatal(err)
		}
		ask := func() {
			if err := port.Ask(t.Context(), "a", &request.Packet{Protocol: "request/1", Request: sixfold.NewID(), Timeout: "1000"}); err != nil {
				t.Error(err)
			}
		}
		ask()
		if len(undelivered) != 0 {
			t.Error("nobody knows yet that it died")
		}
		time.Sleep(16 * time.Second)
		ask()
		if len(undelivered) != 1 {
			t.Error("its lease is over, and it counts as there")
		}
		if err := errors.Join(port.Close(t.Context()), ear.Close(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

func TestNewRequestLaneRefusesNonsense(t *testing.T) {
	_, err := sqlqueue.NewRequestLane(nil, &sqlqueue.RequestLaneOptions{Poll: -1, Lease: time.Millisecond, MaxBody: 17 << 20})
	for _, want := range []string{"the store is nil", "option Poll", "option Lease", "option MaxBody"} {
		if err == nil || !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}

// A cancellation goes to all who listen, since only one of them has the request.
func TestCancellationGoesToAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newTable()
		heard := make(chan string, 10)
		var ears []request.Ear
		for range 2 {
			ear, err := db.lane(t, &way{table: db}).Listen(t.Context(), []string{"a"}, request.Requests{Take: func(_ string, p *request.Packet) { heard <- p.Protocol }, Lost: func(error) {}})
			if err != nil {
				t.Fatal(err)
			}
			ears = append(ears, ear)
		}
		port, err := db.lane(t, &way{table: db}).Open(t.Context(), request.Replies{})
		if err != nil {
			t.Fatal(err)
		}
		for _, protocol := range []string{"request/1", "cancel/1"} {
			if err := port.Ask(t.Context(), "a", &request.Packet{Protocol: protocol, Request: sixfold.NewID(), Timeout: "1000"}); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if len(heard) != 3 {
			t.Errorf("%d packets came: not one request, and a cancellation for each", len(heard))
		}
		for _, ear := range ears {
			if err := ear.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := port.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
