package inbox_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

type paid struct{ ID string }

func (paid) MessageName() string { return "orders.paid" }

func envelope(id, body string) *sixfold.Envelope {
	return &sixfold.Envelope{ID: id, Source: "shop", Type: "orders.paid", Body: fmt.Appendf(nil, `{"ID":%q}`, body)}
}

func box(t *testing.T, db *fakeDB, into *[]string) *inbox.Box[*fakeTx] {
	t.Helper()
	b, err := inbox.New(db.lib(into), db, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// as runs below the context of a consumer that handles ds.
func as(ctx context.Context, consumer string, ds ...*bus.Delivery) context.Context {
	info := &sixfold.Info{Consumer: consumer, Attempt: 1}
	for _, d := range ds {
		info.Envelopes = append(info.Envelopes, &d.Envelope)
	}
	if len(ds) > 0 {
		info.Envelope = &ds[0].Envelope
		ctx = bus.WithDeliveries(ctx, ds)
	}
	return sixfold.WithInfo(ctx, info)
}

func effect(ctx context.Context, tx *fakeTx, m paid) error {
	tx.effects = append(tx.effects, m.ID)
	return nil
}

// guarantees: I1, I3 [TwoConsumersBothRun]
func TestOnHandlesOncePerConsumerAndIssuer(t *testing.T) {
	db := newDB()
	var got []string
	r := inbox.On(box(t, db, &got), effect)
	elsewhere := envelope("1", "other issuer")
	elsewhere.Source = "elsewhere"
	for _, c := range []struct {
		consumer string
		env      *sixfold.Envelope
	}{{"a", envelope("1", "x")}, {"a", envelope("1", "x")}, {"b", envelope("1", "x")}, {"a", envelope("2", "y")}, {"a", elsewhere}, {"b", envelope("1", "x")}} {
		if err := r.Handle(as(t.Context(), c.consumer), c.env); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"x", "x", "y", "other issuer"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// guarantees: I1, I9
func TestOnRollsBackTogether(t *testing.T) {
	db := newDB()
	var got []string
	boom := errors.New("boom")
	fail := true
	r := inbox.On(box(t, db, &got), func(ctx context.Context, tx *fakeTx, m paid) error {
		_ = effect(ctx, tx, m)
		if fail {
			return boom
		}
		return nil
	})
	if err := r.Handle(as(t.Context(), "a"), envelope("1", "x")); !errors.Is(err, boom) || len(got) != 0 {
		t.Fatal(err, got)
	}
	fail = false
	if err := r.Handle(as(t.Context(), "a"), envelope("1", "x")); err != nil || len(got) != 1 {
		t.Fatal(err, got)
	}
}

// guarantees: I6
func TestOnRefusesAnotherPayloadUnderOneID(t *testing.T) {
	db := newDB()
	r := inbox.On(box(t, db, nil), effect)
	if err := r.Handle(as(t.Context(), "a"), envelope("1", "secret one")); err != nil {
		t.Fatal(err)
	}
	other := envelope("1", "secret one")
	other.Type = "orders.paid.v0" // the type belongs to the payload
	err := r.Handle(as(t.Context(), "a"), envelope("1", "secret two"))
	if !errors.Is(err, inbox.ErrIDReuse) || !sixfold.IsPermanent(err) || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), `"1"`) {
		t.Error(err)
	}
	if inbox.RecordOf(other).Digest == inbox.RecordOf(envelope("1", "secret one")).Digest {
		t.Error("the digest does not hold the type")
	}
}

// What the infrastructure did is run again in a fresh transaction, and is no attempt. guarantees: I2, I8
func TestOnRunsPassingErrorsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDB()
		var got []string
		calls := 0
		r := inbox.On(box(t, db, &got), func(ctx context.Context, tx *fakeTx, m paid) error {
			if calls++; calls < 4 {
				return fmt.Errorf("in the handler: %w", errPassing)
			}
			return effect(ctx, tx, m)
		})
		db.commit = func(n int) error {
			if n < 6 && calls >= 4 {
				return errPassing
			}
			return nil
		}
		if err := r.Handle(as(t.Context(), "a"), envelope("1", "x")); err != nil || calls != 6 || len(got) != 1 {
			t.Errorf("%v, %d calls, %v", err, calls, got)
		}
		// Committed, and the answer lost: the next try finds the record.
		db.lost = func(n int) error {
			if n == 7 {
				return errPassing
			}
			return nil
		}
		if err := r.Handle(as(t.Context(), "a"), envelope("2", "y")); err != nil || len(got) != 2 || calls != 7 {
			t.Errorf("%v, %d calls, %v", err, calls, got)
		}
		// Without an end: until the handler's time is over, and then nobody's fault.
		db.commit = func(int) error { return errPassing }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start, before := time.Now(), db.begun
		err := r.Handle(as(ctx, "a"), envelope("3", "z"))
		if !errors.Is(err, bus.ErrUnavailable) || !errors.Is(err, errPassing) || time.Since(start) != time.Minute || db.begun-before > 100 {
			t.Errorf("%v after %v and %d transactions", err, time.Since(start), db.begun-before)
		}
	})
}

func TestOnBatch(t *testing.T) {
	db := newDB()
	var got []string
	var asked [][]string
	r := inbox.OnBatch(box(t, db, &got), func(ctx context.Context, tx *fakeTx, ms []paid) error {
		var ids []string
		info := sixfold.InfoFrom(ctx)
		for i, m := range ms {
			ids = append(ids, m.ID)
			tx.effects = append(tx.effects, m.ID)
			if info.Envelopes[i].ID != m.ID {
				t.Errorf("envelope %d is %s, the message %s", i, info.Envelopes[i].ID, m.ID)
			}
		}
		if info.Consumer != "a" || info.Envelope != info.Envelopes[0] {
			t.Errorf("%+v", info)
		}
		asked = append(asked, ids)
		return nil
	})
	batch := func(ids ...string) error {
		var ds []*bus.Delivery
		var envs []*sixfold.Envelope
		for _, id := range ids {
			d := &bus.Delivery{Envelope: *envelope(id, id)}
			ds, envs = append(ds, d), append(envs, &d.Envelope)
		}
		return r.Batch(as(t.Context(), "a", ds...), envs)
	}
	for _, ids := range [][]string{{"1", "2", "3"}, {"3", "4", "1", "5", "4"}, {"1", "2"}} {
		if err := batch(ids...); err != nil {
			t.Fatal(err)
		}
	}
	d := &bus.Delivery{Envelope: *envelope("6", "6")}
	for range 2 {
		if err := r.Handle(as(t.Context(), "a", d), &d.Envelope); err != nil {
			t.Fatal(err)
		}
	}
	if want := "[[1 2 3] [4 5] [6]]"; fmt.Sprint(asked) != want {
		t.Errorf("%v, want %s", asked, want)
	}
	// One that cannot be decoded, or reuses an id, fails the batch; the others come again one by one.
	bad := &bus.Delivery{Envelope: sixfold.Envelope{ID: "7", Type: "orders.paid", Body: []byte("{")}}
	if err := r.Batch(as(t.Context(), "a", bad), []*sixfold.Envelope{&bad.Envelope}); !errors.Is(err, sixfold.ErrUndecodable) {
		t.Error(err)
	}
	twice := []*bus.Delivery{{Envelope: *envelope("8", "x")}, {Envelope: *envelope("8", "y")}}
	if err := r.Batch(as(t.Context(), "a", twice...), []*sixfold.Envelope{&twice[0].Envelope, &twice[1].Envelope}); !errors.Is(err, inbox.ErrIDReuse) {
		t.Error(err)
	}
}

// claims is a source in the same database.
type claims struct {
	gone map[string]bool
	err  error
}

func (c *claims) Claim(_ context.Context, _ sqltx.Tx, ds []*bus.Delivery) ([]bus.Found, error) {
	found := make([]bus.Found, len(ds))
	for i, d := range ds {
		if !c.gone[d.ID] {
			found[i] = bus.Ours
		}
	}
	return found, c.err
}

// A local row is its own record; the inbox's table is not written. guarantees: I1
func TestOnClaimsLocalRows(t *testing.T) {
	db := newDB()
	var got []string
	c := &claims{gone: map[string]bool{"2": true}}
	r := inbox.OnBatch(box(t, db, &got), func(ctx context.Context, tx *fakeTx, ms []paid) error {
		for _, m := range ms {
			_ = effect(ctx, tx, m)
		}
		return nil
	})
	var ds []*bus.Delivery
	var envs []*sixfold.Envelope
	for _, id := range []string{"1", "2", "3"} {
		d := &bus.Delivery{Envelope: *envelope(id, id), Claims: c}
		ds, envs = append(ds, d), append(envs, &d.Envelope)
	}
	if err := r.Batch(as(t.Context(), "a", ds...), envs); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []string{"1", "3"}) || len(db.handled) != 0 {
		t.Errorf("%v, %v", got, db.handled)
	}
	for _, d := range ds {
		if !d.Claimed {
			t.Errorf("%s is not marked as claimed", d.ID)
		}
	}
	d := &bus.Delivery{Envelope: *envelope("4", "4"), Claims: &claims{err: bus.ErrLost}}
	if err := r.Handle(as(t.Context(), "a", d), &d.Envelope); !errors.Is(err, bus.ErrLost) || d.Claimed {
		t.Error(err, d.Claimed)
	}
	failing := &bus.Delivery{Envelope: *envelope("5", "5"), Claims: c}
	db.commit = func(int) error { return errors.New("no") }
	if err := r.Handle(as(t.Context(), "a", failing), &failing.Envelope); err == nil || failing.Claimed {
		t.Error(err, failing.Claimed)
	}
}

func TestRecordOf(t *testing.T) {
	env := &sixfold.Envelope{ID: "id", Source: "src", Type: "t", Body: []byte("body"), Key: "k"}
	r := inbox.RecordOf(env)
	message, digest := sha256.Sum256([]byte("src\x00id")), sha256.Sum256([]byte("t\x00body"))
	if r.Message != [16]byte(message[:16]) || r.Digest != [16]byte(digest[:16]) || r.Key != "k" {
		t.Errorf("%x", r)
	}
	long := *env
	long.ID, long.Source, long.Type = strings.Repeat("i", 255), strings.Repeat("s", 1000), strings.Repeat("t", 300)
	message, digest = sha256.Sum256([]byte(long.Source+"\x00"+long.ID)), sha256.Sum256([]byte(long.Type+"\x00body"))
	if r := inbox.RecordOf(&long); r.Message != [16]byte(message[:16]) || r.Digest != [16]byte(digest[:16]) {
		t.Errorf("%x", r)
	}
	if string(env.Body) != "body" {
		t.Error("the body was written to")
	}
}

// What was verified is known by its key's owner, and nothing that only claims a source takes its place: whoever sends such a thing
// first would have the real message ignored. guarantees: I3
func TestRecordOfWhatWasVerified(t *testing.T) {
	claimed := envelope("1", "x")
	claimed.Source = "shop"
	verified := *claimed
	verified.SetIssuer("shop")
	another := verified
	another.Source = "something else"
	byOther := *claimed
	byOther.SetIssuer("bank")
	of := inbox.RecordOf
	if of(&verified).Message == of(claimed).Message || of(&verified).Message == of(&byOther).Message || of(&verified).Message != of(&another).Message {
		t.Errorf("%x %x %x %x", of(claimed).Message, of(&verified).Message, of(&another).Message, of(&byOther).Message)
	}
}

func TestNewRefuses(t *testing.T) {
	_, err := inbox.New(sqltx.DB[*fakeTx]{}, nil, &inbox.Options{Retention: time.Minute, Redelivery: time.Hour})
	for _, say := range []string{sqltx.ErrNoDB.Error(), "the store is nil", "Retention is 1m0s and Redelivery 1h0m0s"} {
		if err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("the error does not say %q: %v", say, err)
		}
	}
	for _, o := range []inbox.Options{{Retention: -1}, {Redelivery: -1}, {Redelivery: 8 * 24 * time.Hour}} {
		if _, err := inbox.New(newDB().lib(nil), newDB(), &o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

func TestRoutesRefuse(t *testing.T) {
	b := box(t, newDB(), nil)
	for _, r := range []sixfold.Route{inbox.On[*fakeTx, paid](nil, effect), inbox.On[*fakeTx, paid](b, nil), inbox.OnBatch[*fakeTx, paid](b, nil), inbox.On(b, func(context.Context, *fakeTx, *paid) error { return nil })} {
		if err := r.Err(); err == nil {
			t.Errorf("route %s was taken", r.Name)
		}
	}
}

func TestBoxCountsSuspects(t *testing.T) {
	db := newDB()
	b := box(t, db, nil)
	ds := []*bus.Delivery{{Envelope: *envelope("1", "x")}, {Envelope: *envelope("2", "x")}, {Envelope: *envelope("1", "x")}}
	for i := range 3 {
		ns, err := b.Suspect(t.Context(), "a", ds)
		if err != nil || !slices.Equal(ns, []int{i + 1, i + 1, i + 1}) {
			t.Errorf("%v, %v", ns, err)
		}
	}
	if err := b.Forget(t.Context(), "a", ds); err != nil || len(db.attempts) != 0 {
		t.Error(err)
	}
	db.err = errors.New("cut")
	if _, err := b.Suspect(t.Context(), "a", ds); !errors.Is(err, bus.ErrUnavailable) {
		t.Error(err)
	}
	if err := b.Forget(t.Context(), "a", ds); !errors.Is(err, bus.ErrUnavailable) {
		t.Error(err)
	}
}

// Pruning goes on while there is something, in small steps, and survives failures. [PruneIsPolite]
func TestBoxPrunes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDB()
		db.pruned = []int{1000, 1000, 3, 7}
		db.err = errors.New("cut")
		b, err := inbox.New(db.lib(nil), db, &inbox.Options{Logger: discard()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		go func() {
			time.Sleep(61 * time.Second)
			db.mu.Lock()
			defer db.mu.Unlock()
			if len(db.pruned) != 1 {
				t.Errorf("after a minute %v is left", db.pruned)
			}
		}()
		if err := b.Maintain(ctx); err != nil || len(db.pruned) != 0 {
			t.Errorf("%v, %v", err, db.pruned)
		}
	})
}
