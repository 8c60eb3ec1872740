package claimcheck_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/claimcheck"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// plant sends what says that its body is elsewhere, past the wrapper.
func plant(t *testing.T, broker bus.Transport, body, ref, check string) {
	t.Helper()
	env := envelope("", body)
	if ref != "" {
		env.Headers["dataref"] = ref
	}
	if check != "" {
		env.Headers["sixfolddata"] = check
	}
	mustSend(t, open(t, broker), env)
}

// guarantees: I10
func TestHostileReferences(t *testing.T) {
	store := newBlobs()
	body := []byte(large("a"))
	sum := fmt.Sprintf("%x", sha256.Sum256(body))
	other := fmt.Sprintf("%x", sha256.Sum256([]byte("other")))
	store.m["2026-11-22/"+sum] = body
	store.m["2026-11-22/"+other] = body
	good, check := "sixfold-blob:2026-11-22/"+sum, "sha256:"+sum+":2000"
	for name, c := range map[string]struct{ body, ref, check, say string }{
		"good":               {"", good, check, ""},
		"missing":            {"", "sixfold-blob:2026-11-23/" + sum, check, "there is no blob"},
		"other content":      {"", "sixfold-blob:2026-11-22/" + other, "sha256:" + other + ":2000", "another digest"},
		"shorter":            {"", good, "sha256:" + sum + ":2001", "has not the 2001 bytes"},
		"longer":             {"", good, "sha256:" + sum + ":1999", "has not the 1999 bytes"},
		"over the bound":     {"", good, "sha256:" + sum + ":16777217", "the limit is 16777216"},
		"far over the bound": {"", good, "sha256:" + sum + ":9223372036854775807", "the limit is"},
		"no number":          {"", good, "sha256:" + sum + ":1e3", "has no size"},
		"no bytes":           {"", good, "sha256:" + sum + ":0", "has no size"},
		"negative":           {"", good, "sha256:" + sum + ":-1", "has no size"},
		"plus":               {"", good, "sha256:" + sum + ":+2000", "has no size"},
		"zeros":              {"", good, "sha256:" + sum + ":02000", "has no size"},
		"no size":            {"", good, "sha256:" + sum, "is not \"sha256:\""},
		"other algorithm":    {"", good, "md5:" + sum + ":2000", "is not \"sha256:\""},
		"short digest":       {"", good, "sha256:" + sum[1:] + ":2000", "is not \"sha256:\""},
		"upper case":         {"", good, "sha256:" + strings.ToUpper(sum) + ":2000", "is not \"sha256:\""},
		"other digest":       {"", good, "sha256:" + other + ":2000", "names of blob and digest differ"},
		"no reference":       {"", "", check, "does not begin with"},
		"other scheme":       {"", "https://example.com/2026-11-22/" + sum, check, "does not begin with"},
		"file scheme":        {"", "file:///etc/passwd", check, "does not begin with"},
		"traversal":          {"", "sixfold-blob:../../etc/passwd", check, "name of a blob"},
		"traversal of size":  {"", "sixfold-blob:../../../../" + sum[2:], check, "name of a blob"},
		"absolute":           {"", "sixfold-blob:/026-11-22/" + sum, check, "name of a blob"},
		"no day":             {"", "sixfold-blob:2026-02-30/" + sum, check, "name of a blob"},
		"backslash":          {"", "sixfold-blob:2026-11-22\\" + sum, check, "name of a blob"},
		"NUL":                {"", good[:len(good)-1] + "\x00", check, "name of a blob"},
		"tail":               {"", good + "/", check, "name of a blob"},
		"query":              {"", good + "?x", check, "name of a blob"},
		"body beside it":     {"body", good, check, "a body of 4 bytes and a reference"},
	} {
		t.Run(name, func(t *testing.T) {
			broker, w := wrap(t, store, nil)
			src := subscribe(t, w, 0)
			plant(t, broker, c.body, c.ref, c.check)
			d := receive(t, src, 1)[0]
			if c.say == "" {
				if d.Damaged != nil || string(d.Body) != string(body) {
					t.Fatalf("damaged: %v; %d bytes", d.Damaged, len(d.Body))
				}
			} else if d.Damaged == nil || !strings.Contains(d.Damaged.Error(), c.say) || string(d.Body) != c.body {
				t.Fatalf("damaged: %v, want %q; body %q", d.Damaged, c.say, d.Body)
			} else if strings.Contains(d.Damaged.Error(), "passwd") {
				t.Errorf("the error repeats what it was sent: %v", d.Damaged)
			}
			settle(t, src, false, d)
		})
	}
}

// Somebody else's reference is a header like any other.
func TestForeignReferencesAreNotFollowed(t *testing.T) {
	store := newBlobs()
	store.gets = make(chan struct{}, 1)
	broker, w := wrap(t, store, nil)
	src := subscribe(t, w, 0)
	plant(t, broker, "", "https://example.com/x", "")
	d := receive(t, src, 1)[0]
	if d.Damaged != nil || len(d.Body) != 0 || d.Headers["dataref"] != "https://example.com/x" || len(store.gets) > 0 {
		t.Errorf("damaged %v, %d bytes, headers %v, %d reads", d.Damaged, len(d.Body), d.Headers, len(store.gets))
	}
}

func TestChangedBlobIsDamaged(t *testing.T) {
	store := newBlobs()
	store.tampered = func(data []byte) []byte { return append([]byte("X"), data[1:]...) }
	_, w := wrap(t, store, nil)
	src := subscribe(t, w, 0)
	mustSend(t, open(t, w), envelope("k", large("a")))
	d := receive(t, src, 1)[0]
	if d.Damaged == nil || !strings.Contains(d.Damaged.Error(), "another digest") || len(d.Body) != 0 || d.Headers["dataref"] == "" {
		t.Errorf("damaged %v, %d bytes, headers %v", d.Damaged, len(d.Body), d.Headers)
	}
	settle(t, src, false, d)
}

// While the store is away its messages wait with the later ones of their keys, and all others go on.
// guarantees: K2, R7
func TestOutageHoldsOnlyItsKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newBlobs()
		_, w := wrap(t, store, nil)
		src := subscribe(t, w, 0)
		s := open(t, w)
		store.set(func() {
			store.lose = func(name string) error { return fmt.Errorf("read %s: %w", name, errDown) }
		})
		mustSend(t, s, envelope("a", large("1")), envelope("b", "1"), envelope("a", "2"), envelope("b", large("2")), envelope("", "u"))
		first := map[string]string{}
		for _, d := range receive(t, src, 2) {
			first[d.Key] = string(d.Body)
		}
		if first["b"] != "1" || first[""] != "u" {
			t.Fatalf("%q", first)
		}
		mustSend(t, s, envelope("c", "1"), envelope("a", "3"))
		if d := receive(t, src, 1)[0]; d.Key != "c" {
			t.Fatalf("%s", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if ds, err := src.Receive(ctx, 10); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%d deliveries, %v", len(ds), err)
		}
		store.set(func() { store.lose = nil })
		got := map[string]string{}
		for _, d := range receive(t, src, 4) {
			if d.Damaged != nil {
				t.Fatal(d.Damaged)
			}
			got[d.Key] += fmt.Sprintf("%c%d ", d.Body[0], len(d.Body))
		}
		if got["a"] != "12000 21 31 " || got["b"] != "22000 " {
			t.Errorf("%q", got)
		}
	})
}

// What waits for the store is kept ours, although the consumer has nothing in hand that it would extend.
func TestWaitingIsExtended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newBlobs()
		broker := memory.New(&memory.Options{Topics: []string{"t"}, MaxBody: 1000, Lease: 30 * time.Second})
		w, err := claimcheck.Wrap(broker, store, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close(t.Context())
		src := subscribe(t, w, 0)
		store.set(func() { store.down = errDown })
		w2 := open(t, broker)
		sum := fmt.Sprintf("%x", sha256.Sum256([]byte(large("a"))))
		env := envelope("k", "")
		env.Headers["dataref"], env.Headers["sixfolddata"] = "sixfold-blob:2026-11-22/"+sum, "sha256:"+sum+":2000"
		mustSend(t, w2, env)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if ds, err := src.Receive(ctx, 10); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%d deliveries, %v", len(ds), err)
		}
		store.set(func() { store.down, store.m["2026-11-22/"+sum] = nil, []byte(large("a")) })
		d := receive(t, src, 1)[0]
		if d.Redelivered || d.Damaged != nil || d.Owned.Err() != nil {
			t.Errorf("redelivered %v, damaged %v, owned %v", d.Redelivered, d.Damaged, d.Owned.Err())
		}
		settle(t, src, false, d)
	})
}

// Bodies in hand are bounded; what is settled, released or lost makes room.
func TestHeldIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker, w := wrap(t, newBlobs(), &claimcheck.Options{MaxHeld: 4100})
		src := subscribe(t, w, 0)
		var envs []*sixfold.Envelope
		for i := range 7 {
			envs = append(envs, envelope(fmt.Sprint(i), large("a")))
		}
		mustSend(t, open(t, w), envs...)
		ds := receive(t, src, 2)
		nothing(t, src)
		got := make(chan []*bus.Delivery)
		go func() { got <- receive(t, src, 1) }()
		synctest.Wait()
		settle(t, src, false, ds[0])
		third := <-got
		settle(t, src, true, third...)
		settle(t, src, false, receive(t, src, 1)...)
		if err := broker.Revoke(claimcheck.Inner(src)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := claimcheck.Held(src); n != 0 {
			t.Errorf("%d bytes are held after all was lost", n)
		}
		if len(receive(t, src, 2)) != 2 {
			t.Error("more came than there is room for")
		}
	})
}

func TestOneBodyOverTheRoomIsTaken(t *testing.T) {
	_, w := wrap(t, newBlobs(), &claimcheck.Options{MaxHeld: 10})
	src := subscribe(t, w, 0)
	mustSend(t, open(t, w), envelope("", large("a")), envelope("", large("b")))
	for range 2 {
		settle(t, src, false, receive(t, src, 1)...)
	}
}

// guarantees: I10
func TestAConsumerWithoutTheStoreSaysSo(t *testing.T) {
	broker, w := wrap(t, newBlobs(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dead := make(chan error, 1)
	c, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"t"}, Group: "plain"},
		&bus.Options{Hooks: bus.Hooks{Dead: func(_ *bus.Delivery, _ string, err error) { dead <- err }}},
		sixfold.Raw(func(context.Context, *sixfold.Envelope) error {
			t.Error("the handler ran without a body")
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	if err := broker.Declare("t" + bus.DeadSuffix); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	mustSend(t, open(t, w), envelope("", large("a")))
	if err := <-dead; err == nil || !strings.Contains(err.Error(), "claimcheck.Wrap") {
		t.Errorf("%v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
