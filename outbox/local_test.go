package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

func newLocal(t *testing.T, db *outbox.FakeDB) *outbox.Local {
	t.Helper()
	l, err := outbox.NewLocal(db, db.DB(), &outbox.LocalOptions{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func open(t *testing.T, db *outbox.FakeDB, group string, most int) bus.Source {
	t.Helper()
	src, err := newLocal(t, db).Subscribe(t.Context(), bus.Subscription{Group: group, Ordered: true, MaxInFlight: most})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close(context.Background()) })
	return src
}

func putLocal(db *outbox.FakeDB, group, key, body string) int64 {
	seq := db.Put(outbox.ToLocal, row(group, "", key, body))
	db.Bell(outbox.ToLocal).Ring(outbox.Now)
	return seq
}

// receive takes up to n, or what comes within a minute.
func receive(t *testing.T, src bus.Source, n int) []*bus.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ds, err := src.Receive(ctx, n)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	return ds
}

func bodies(ds []*bus.Delivery) string {
	var out []string
	for _, d := range ds {
		out = append(out, string(d.Body))
	}
	return strings.Join(out, " ")
}

func settle(t *testing.T, src bus.Source, release bool, ds ...*bus.Delivery) {
	t.Helper()
	var all []bus.Settlement
	for _, d := range ds {
		all = append(all, bus.Settlement{Delivery: d, Release: release})
	}
	if err := errors.Join(src.Settle(t.Context(), all)...); err != nil {
		t.Fatal(err)
	}
}

// What is released comes again before later messages of its key, also before those that were read already. guarantees: K2
func TestLocalReleasedComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := outbox.NewFakeDB()
		src := open(t, db, "c", 10)
		for i := range 5 {
			putLocal(db, "c", "k", fmt.Sprint(i))
		}
		first := receive(t, src, 2)
		if got := bodies(first); got != "0 1" {
			t.Fatal(got)
		}
		settle(t, src, true, first[1])
		settle(t, src, true, first[0])
		again := receive(t, src, 10)
		if got := bodies(again); got != "0 1 2 3 4" {
			t.Fatalf("after the release came %s", got)
		}
		settle(t, src, false, again...)
		if left := db.Left(outbox.ToLocal); len(left) != 0 {
			t.Errorf("left %v", left)
		}
		if more := receive(t, src, 10); len(more) != 0 {
			t.Errorf("%s came again", bodies(more))
		}
	})
}

func TestLocalKeepsMaxInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := outbox.NewFakeDB()
		src := open(t, db, "c", 3)
		for i := range 10 {
			putLocal(db, "c", "", fmt.Sprint(i))
		}
		var got []*bus.Delivery
		for len(got) < 3 {
			got = append(got, receive(t, src, 10)...)
		}
		if more := receive(t, src, 10); len(got) != 3 || len(more) != 0 {
			t.Fatalf("%d and %d", len(got), len(more))
		}
		settle(t, src, false, got[0])
		if more := receive(t, src, 10); bodies(more) != "3" {
			t.Errorf("%s", bodies(more))
		}
	})
}

// Rows of other consumers, however many, delay nobody. guarantees: R6
func TestLocalReadsOnBehindOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := outbox.NewFakeDB()
		for range 5000 {
			putLocal(db, "nobody", "", "x")
		}
		putLocal(db, "c", "", "mine")
		src := open(t, db, "c", 10)
		start := time.Now()
		if got := bodies(receive(t, src, 10)); got != "mine" || time.Since(start) > 100*time.Millisecond {
			t.Errorf("%q after %v", got, time.Since(start))
		}
	})
}

// Who was taken over learns it at its next claim or settlement, whose effect it does not have; its deliveries end, and it
// begins again. guarantees: R5 [StaleSettleRefused]
func TestLocalTakenOver(t *testing.T) {
	for _, how := range []string{"claim", "settle", "beat"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := outbox.NewFakeDB()
				src := open(t, db, "c", 10)
				putLocal(db, "c", "k", "1")
				ds := receive(t, src, 10)
				db.Kill(db.Nodes("c")[0])
				if err := db.Leases().Join(t.Context(), "c", "another", 20*time.Second); err != nil {
					t.Fatal(err)
				}
				if _, err := db.Leases().Take(t.Context(), "c", "another", 64, outbox.ToLocal, true); err != nil {
					t.Fatal(err)
				}
				if db.Row(outbox.ToLocal, 1).Attempts != 1 {
					t.Error("the row that may have been begun is no suspect")
				}
				switch how {
				case "claim":
					tx := db.Begin()
					if _, err := ds[0].Claims.Claim(t.Context(), tx.Tx(), ds); !errors.Is(err, bus.ErrLost) {
						t.Error(err)
					}
					_ = tx.Commit()
				case "settle":
					if err := src.Settle(t.Context(), []bus.Settlement{{Delivery: ds[0]}})[0]; !errors.Is(err, bus.ErrLost) {
						t.Error(err)
					}
				case "beat":
					time.Sleep(3 * time.Second)
				}
				if ds[0].Owned.Err() == nil {
					t.Error("the delivery is still ours")
				}
				if left := db.Left(outbox.ToLocal); len(left) != 1 {
					t.Errorf("left %v", left)
				}
				again := receive(t, src, 10) // when the other one's lease ends
				if bodies(again) != "1" || again[0].Attempts != 1 || !again[0].Redelivered {
					t.Fatalf("%s %+v", bodies(again), again)
				}
				if err := src.Settle(t.Context(), []bus.Settlement{{Delivery: ds[0]}})[0]; !errors.Is(err, bus.ErrLost) {
					t.Errorf("settling the first delivery: %v", err)
				}
				settle(t, src, false, again...)
			})
		})
	}
}

// Two processes of a consumer share; what is out is drained before its partition changes hands. guarantees: K2, R5
func TestLocalShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := outbox.NewFakeDB()
		var mu sync.Mutex
		var order []string
		consumer := func() (stop func()) {
			c, err := bus.NewConsumer(newLocal(t, db), bus.Subscription{Group: "c", Ordered: true}, &bus.Options{Logger: quiet()},
				sixfold.Raw(func(ctx context.Context, env *sixfold.Envelope) error {
					time.Sleep(200 * time.Millisecond) // slower than messages come, so that some are out at every time
					mu.Lock()
					defer mu.Unlock()
					order = append(order, env.Key+" "+string(env.Body))
					return nil
				}))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- c.Run(ctx) }()
			return func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		}
		n := 0
		more := func(d time.Duration) {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				for range 5 {
					putLocal(db, "c", fmt.Sprint("k", n%40), fmt.Sprintf("%06d", n))
					n++
				}
			}
		}
		stopA := consumer()
		more(10 * time.Second)
		stopB := consumer()
		more(20 * time.Second)
		if held := db.Held("c"); len(held) != 2 {
			t.Errorf("%v", held)
		}
		stopA()
		more(10 * time.Second)
		time.Sleep(5 * time.Minute)
		stopB()
		if len(db.Left(outbox.ToLocal)) != 0 || len(order) != n {
			t.Errorf("%d rows are left, %d of %d were handled", len(db.Left(outbox.ToLocal)), len(order), n)
		}
		last := map[string]string{}
		for _, o := range order {
			key, body, _ := strings.Cut(o, " ")
			if body <= last[key] {
				t.Errorf("key %s: %s after %s", key, body, last[key])
			}
			last[key] = body
		}
	})
}

// A claim deletes the row in the handler's transaction; two owners who both run it wait for each other, and one has the
// effect. guarantees: I1, I4
func TestLocalClaimOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := outbox.NewFakeDB()
		src := open(t, db, "c", 10)
		putLocal(db, "c", "k", "1")
		ds := receive(t, src, 10)
		first, second := db.Begin(), db.Begin()
		if ours, err := ds[0].Claims.Claim(t.Context(), first.Tx(), ds); err != nil || ours[0] != bus.Ours {
			t.Fatal(ours, err)
		}
		verdict := make(chan bool)
		go func() {
			ours, err := ds[0].Claims.Claim(t.Context(), second.Tx(), ds)
			verdict <- err == nil && ours[0] == bus.Ours
		}()
		synctest.Wait()
		select {
		case v := <-verdict:
			t.Fatalf("the second did not wait: %v", v)
		default:
		}
		_ = first.Commit()
		if <-verdict {
			t.Error("both have the effect")
		}
		_ = second.Rollback()
		ds[0].Claimed = true
		settle(t, src, false, ds...)
		if db.Calls("settle") != 0 {
			t.Error("a claimed delivery was settled once more")
		}
	})
}

func TestLocalSubscribeRefuses(t *testing.T) {
	l := newLocal(t, outbox.NewFakeDB())
	for say, s := range map[string]bus.Subscription{
		"without a group":          {},
		`topics ["a"]`:             {Group: "b", Topics: []string{"a"}},
		`topics ["a" "b"]`:         {Group: "a", Topics: []string{"a", "b"}},
		`name "a b"`:               {Group: "a b"},
		"96 bytes, the limit is 9": {Group: strings.Repeat("c", 96)},
	} {
		if src, err := l.Subscribe(t.Context(), s); src != nil || !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), say) {
			t.Errorf("%v, want %q", err, say)
		}
	}
	for _, c := range []struct {
		st outbox.Store
		db sqltx.Runner
	}{{nil, nil}, {outbox.NewFakeDB(), nil}, {outbox.NewFakeDB(), sqltx.StdDB(nil)}} {
		if _, err := outbox.NewLocal(c.st, c.db, &outbox.LocalOptions{Lease: time.Millisecond}); !errors.Is(err, sqltx.ErrNoDB) || !strings.Contains(err.Error(), "outbox: local: Lease is 1ms") {
			t.Error(err)
		}
	}
	db := outbox.NewFakeDB()
	db.Fail(func(string) error { return outbox.ErrFakeCut }, nil)
	if _, err := newLocal(t, db).Subscribe(t.Context(), bus.Subscription{Group: "c"}); !errors.Is(err, bus.ErrUnavailable) {
		t.Error(err)
	}
	schema := errors.New("the tables are not there")
	db.Fail(func(string) error { return schema }, nil)
	if _, err := newLocal(t, db).Subscribe(t.Context(), bus.Subscription{Group: "c"}); !errors.Is(err, schema) || errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("%v: tables that do not fit were taken for an outage, so the consumer would wait for ever", err)
	}
}

func TestLocalSourceUseAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := outbox.NewFakeDB()
		src := open(t, db, "c", 10)
		putLocal(db, "c", "k", "1")
		ds := receive(t, src, 10)
		if err := src.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := src.Receive(t.Context(), 1); !errors.Is(err, bus.ErrClosed) {
			t.Error(err)
		}
		if err := src.Settle(t.Context(), []bus.Settlement{{Delivery: ds[0]}})[0]; !errors.Is(err, bus.ErrClosed) {
			t.Error(err)
		}
		if err := src.Close(t.Context()); err != nil || ds[0].Owned.Err() == nil || len(db.Nodes("c")) != 0 {
			t.Error(err, ds[0].Owned.Err(), db.Nodes("c"))
		}
		// What was out comes again, and no attempt is counted for it.
		if again := receive(t, open(t, db, "c", 10), 10); bodies(again) != "1" || again[0].Attempts != 0 {
			t.Errorf("%+v", again)
		}
	})
}

// A relay of another database brings rows here; what the database cannot take is refused alone. guarantees: R6
func TestLocalAsTransport(t *testing.T) {
	db := outbox.NewFakeDB()
	s, err := newLocal(t, db).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := func(topic, id, key, body string) bus.Outgoing {
		return bus.Outgoing{Topic: topic, Envelope: &sixfold.Envelope{ID: id, Type: "t", Key: key, Body: []byte(body)}}
	}
	id := sixfold.NewID()
	errs := s.Send(t.Context(), []bus.Outgoing{out("c", id, "k", "1"), out("c", "4711", "l", "no UUID"), out("c", id, "l", "behind"), out("c", id, "", "2"), out("a b", id, "", "bad topic"),
		out("c", id, "\xff", "bad key"), out("c", id, "a\x00", "bad key"), out("c", id, "", strings.Repeat("x", 16<<20+1))}).Wait(t.Context())
	want := []error{nil, bus.ErrRefused, bus.ErrBehindFailed, nil, bus.ErrRefused, bus.ErrRefused, bus.ErrRefused, bus.ErrTooLarge}
	for i, err := range errs {
		if !errors.Is(err, want[i]) || want[i] == nil && err != nil {
			t.Errorf("%d: %v, want %v", i, err, want[i])
		}
	}
	got := rows(db)
	if len(got) != 2 || string(got[0].Body) != "1" || string(got[1].Body) != "2" || got[0].Class != "c" {
		t.Fatalf("%+v", got)
	}
	if flags, err := outbox.DecodeAttrs(got[0].Attrs, &sixfold.Envelope{}); err != nil || !flags.Relayed {
		t.Errorf("%+v, %v", flags, err)
	}
	db.Fail(func(string) error { return outbox.ErrFakeCut }, nil)
	for range 2 { // once lost, it stays lost
		if errs := s.Send(t.Context(), []bus.Outgoing{out("c", id, "k", "3")}).Wait(t.Context()); !errors.Is(errs[0], bus.ErrUnavailable) {
			t.Error(errs)
		}
		db.Fail(nil, nil)
	}
	_ = s.Close(t.Context())
	if errs := s.Send(t.Context(), []bus.Outgoing{out("c", id, "k", "3")}).Wait(t.Context()); !errors.Is(errs[0], bus.ErrClosed) {
		t.Error(errs)
	}
}

// A row that cannot be read is delivered as damaged, so that its consumer buries it. guarantees: I10
func TestLocalDamagedRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := outbox.NewFakeDB()
		bad := row("c", "", "k", "bytes")
		bad.Attrs = []byte("{")
		db.Put(outbox.ToLocal, bad)
		var mu sync.Mutex
		var dead []string
		c, err := bus.NewConsumer(newLocal(t, db), bus.Subscription{Group: "c"}, &bus.Options{Logger: quiet(), Hooks: bus.Hooks{Dead: func(d *bus.Delivery, reason string, _ error) {
			mu.Lock()
			defer mu.Unlock()
			dead = append(dead, reason)
		}}}, sixfold.Raw(func(context.Context, *sixfold.Envelope) error { return nil }))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		time.Sleep(time.Minute)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		left := rows(db)
		if !slices.Equal(dead, []string{"damaged"}) || len(left) != 1 || left[0].Class != "c.dead" || string(left[0].Body) != "bytes" {
			t.Errorf("%v, %+v", dead, left)
		}
	})
}
