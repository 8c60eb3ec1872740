package claimcheck_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/claimcheck"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// guarantees: O5
func TestLargeBodiesArrive(t *testing.T) {
	store := newBlobs()
	broker, w := wrap(t, store, nil)
	var seen []string
	broker.Tap(func(_ string, env *sixfold.Envelope) {
		seen = append(seen, fmt.Sprintf("%d bytes, ref %.30s, data %.12s", len(env.Body), env.Headers["dataref"], env.Headers["sixfolddata"]))
	})
	src := subscribe(t, w, 0)
	small, big := envelope("k", "small"), envelope("k", large("b"))
	mustSend(t, open(t, w), small, big)
	ds := receive(t, src, 2)
	for i, want := range []*sixfold.Envelope{small, big} {
		d := ds[i]
		if d.Damaged != nil || d.ID != want.ID || string(d.Body) != string(want.Body) || len(d.Headers) != 1 || d.Headers["tenant"] != "a" || d.Topic != "t" {
			t.Errorf("delivery %d: damaged %v, id %s, %d bytes, headers %v", i, d.Damaged, d.ID, len(d.Body), d.Headers)
		}
	}
	if len(seen) != 2 || !strings.HasPrefix(seen[0], "5 bytes, ref , data ") || !strings.HasPrefix(seen[1], "0 bytes, ref sixfold-blob:20") || !strings.Contains(seen[1], "data sha256:") {
		t.Errorf("on the wire: %q", seen)
	}
	if len(store.m) != 1 || len(big.Headers) != 1 || len(big.Body) != 2000 {
		t.Errorf("%d blobs; the envelope that was sent now has headers %v and %d bytes", len(store.m), big.Headers, len(big.Body))
	}
	settle(t, src, false, ds...)
	nothing(t, src)
	if n := claimcheck.Held(src); n != 0 {
		t.Errorf("%d bytes are held after everything was settled", n)
	}
}

func TestReleasedComesWhole(t *testing.T) {
	_, w := wrap(t, newBlobs(), nil)
	src := subscribe(t, w, 0)
	mustSend(t, open(t, w), envelope("k", large("a")), envelope("k", large("b")))
	ds := receive(t, src, 2)
	settle(t, src, true, ds...)
	again := receive(t, src, 2)
	if string(again[0].Body) != large("a") || string(again[1].Body) != large("b") {
		t.Error("what was released came back otherwise")
	}
}

// What lies in the store is one of the copies of a message: who cannot store it has not sent it.
// guarantees: R1, R4
func TestPrefixEndsWhereStoringFails(t *testing.T) {
	store := newBlobs()
	store.refuse = func(data []byte) error {
		if data[0] == 'x' {
			return errDown
		}
		return nil
	}
	_, w := wrap(t, store, nil)
	src := subscribe(t, w, 0)
	s := open(t, w)
	errs := send(t, s, envelope("k", large("a")), envelope("k", large("x")), envelope("k", "small"), envelope("other", "small"), envelope("", large("x")), envelope("", large("c")))
	if errs[0] != nil || !errors.Is(errs[1], bus.ErrUnavailable) || !errors.Is(errs[1], errDown) || !errors.Is(errs[2], bus.ErrBehindFailed) || errs[3] != nil || !errors.Is(errs[4], bus.ErrUnavailable) || errs[5] != nil {
		t.Fatalf("answers: %v", errs)
	}
	if err := send(t, s, envelope("k", "later"))[0]; !errors.Is(err, bus.ErrBehindFailed) {
		t.Fatalf("a later one of the key: %v", err)
	}
	if ds := receive(t, src, 3); len(ds) != 3 {
		t.Fatal("more came than was sent")
	}
	nothing(t, src)
}

// INPUTS: one byte over the limit, on either side of both limits.
func TestLimits(t *testing.T) {
	store := newBlobs()
	_, w := wrap(t, store, &claimcheck.Options{Threshold: 100, MaxBody: 1000})
	subscribe(t, w, 0)
	s := open(t, w)
	of := func(n int) *sixfold.Envelope { // with "tenant" and "a", 7 bytes
		return envelope("", strings.Repeat("a", n-7))
	}
	mustSend(t, s, of(100))
	if store.puts != 0 {
		t.Error("a body at the threshold went to the store")
	}
	mustSend(t, s, of(101), of(1000))
	if store.puts != 2 {
		t.Errorf("%d bodies over the threshold went to the store, want 2", store.puts)
	}
	err := send(t, s, of(1001))[0]
	if !errors.Is(err, bus.ErrTooLarge) || !strings.Contains(err.Error(), "1001 bytes") || !strings.Contains(err.Error(), "limit is 1000") {
		t.Errorf("one byte over: %v", err)
	}
	store.refuse = func([]byte) error { return fmt.Errorf("no object that large: %w", bus.ErrTooLarge) }
	if err := send(t, s, of(500))[0]; !errors.Is(err, bus.ErrTooLarge) || errors.Is(err, bus.ErrUnavailable) {
		t.Errorf("a store with a limit: %v", err)
	}
}

func TestUsersMayNotWriteTheCheck(t *testing.T) {
	_, w := wrap(t, newBlobs(), nil)
	subscribe(t, w, 0)
	env := envelope("", "body")
	env.Headers["sixfolddata"] = "mine"
	if err := send(t, open(t, w), env)[0]; !errors.Is(err, bus.ErrRefused) || !strings.Contains(err.Error(), "choose another name") {
		t.Errorf("answer: %v", err)
	}
}

// A dead letter of what could not be redeemed keeps its claim, so that it can be sent again when the blob is back.
func TestClaimsAreSentOn(t *testing.T) {
	store := newBlobs()
	broker, w := wrap(t, store, nil)
	src := subscribe(t, w, 0)
	s := open(t, w)
	var wire *sixfold.Envelope
	broker.Tap(func(_ string, env *sixfold.Envelope) { wire = env })
	mustSend(t, s, envelope("k", large("a")))
	receive(t, src, 1)
	again := *wire
	mustSend(t, s, &again)
	if d := receive(t, src, 1)[0]; d.Damaged != nil || string(d.Body) != large("a") {
		t.Errorf("damaged %v, %d bytes", d.Damaged, len(d.Body))
	}
}

func TestCapabilities(t *testing.T) {
	broker, w := wrap(t, newBlobs(), nil)
	got, want := w.Capabilities(), broker.Capabilities()
	if got.MaxBody != claimcheck.DefaultMaxBody {
		t.Errorf("MaxBody %d", got.MaxBody)
	}
	if got.MaxBody = want.MaxBody; got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestBadOptions(t *testing.T) {
	_, err := claimcheck.Wrap(nil, nil, &claimcheck.Options{Threshold: -1, MaxBody: -1, MaxHeld: -1, Base: "no scheme"})
	if !errors.Is(err, sixfold.ErrInvalid) {
		t.Fatalf("%v", err)
	}
	for _, say := range []string{"transport: it is nil", "blob store: it is nil", "Threshold: it is negative", "MaxBody: it is negative", "MaxHeld: it is negative", "option Base"} {
		if !strings.Contains(err.Error(), say) {
			t.Errorf("the error does not say %q:\n%v", say, err)
		}
	}
	broker := memory.New(&memory.Options{MaxBody: 1000})
	for _, o := range []claimcheck.Options{{Threshold: 1001}, {MaxBody: 999}, {MaxBody: 1<<30 + 1}, {Base: "x y:"}, {Base: ":"}} {
		if _, err := claimcheck.Wrap(broker, newBlobs(), &o); !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if _, err := claimcheck.Wrap(limitless{broker}, newBlobs(), nil); err == nil || !strings.Contains(err.Error(), "states no limit") {
		t.Errorf("a transport without a limit: %v", err)
	}
}

type limitless struct{ bus.Transport }

func (limitless) Capabilities() bus.Capabilities { return bus.Capabilities{Name: "limitless"} }

// A body that is sent again is stored under the same name, so that a relay that repeats for an hour fills no disk.
func TestRepeatsShareABlob(t *testing.T) {
	store := newBlobs()
	_, w := wrap(t, store, nil)
	subscribe(t, w, 0)
	s := open(t, w)
	for range 5 {
		mustSend(t, s, envelope("", large("a")))
	}
	if store.puts != 5 || len(store.m) > 2 { // two if midnight fell in between
		t.Errorf("%d uploads made %d blobs", store.puts, len(store.m))
	}
	if names := slices.Collect(keys(store.m)); len(names[0]) != 75 {
		t.Errorf("name %q", names[0])
	}
}

func keys(m map[string][]byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
