package broken

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sixfold-go/sixfold/bus/bustest"
)

func twists() map[string]func() twist {
	all := make(map[string]func() twist)
	for _, part := range []map[string]func() twist{transportTwists(), subscriptionTwists(), senderTwists(), pendingTwists(),
		sourceTwists(), settleTwists(), stopTwists(), orderTwists(), deliveryTwists()} {
		maps.Copy(all, part)
	}
	return all
}

// baseOf is what the case needs the driver to state.
func baseOf(name string) base {
	switch name {
	case "Order/RefusedWithoutIt":
		return unordered
	case "Copy/RefusedWithoutIt":
		return grouped
	case "Dedup/Window":
		return dedup
	}
	return plain
}

func straight() twist { return twist{} }

// Each broken driver fails its case and no other, and each case has one.
func TestEachCaseCatchesItsBrokenDriver(t *testing.T) {
	all := twists()
	cases := bustest.Cases()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !slices.ContainsFunc(cases, func(c bustest.Case) bool { return c.Name == name }) {
			t.Errorf("there is a broken driver for %q, which is no case", name)
		}
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			broken := all[c.Name]
			if broken == nil {
				t.Fatal("the case has no broken driver; write one, so that it is known to be able to fail")
			}
			for _, other := range cases {
				if testing.Short() && other.Name != c.Name {
					continue
				}
				r := play(t, other, baseOf(c.Name), broken)
				switch {
				case other.Name == c.Name && r.skipped:
					t.Errorf("its own driver did not play it: %s", r.text)
				case other.Name == c.Name && !r.failed:
					t.Error("its own driver passed it")
				case other.Name == c.Name:
					explained(t, c, r.text)
				case r.failed:
					t.Errorf("its driver failed another case:\n%s", r.text)
				}
			}
		})
	}
}

// explained checks what an author reads.
func explained(t *testing.T, c bustest.Case, text string) {
	t.Helper()
	for _, part := range []string{c.Name, "the contract says: " + c.Says, "what happened:", "what to do:        " + c.Advice} {
		if !strings.Contains(text, part) {
			t.Errorf("the failure does not have %q:\n%s", part, text)
		}
	}
}

// What nothing is wrong with fails nothing, whatever it states.
func TestStraightDriversPass(t *testing.T) {
	played := make(map[string]bool)
	for _, b := range []base{plain, unordered, dedup, grouped} {
		for _, c := range bustest.Cases() {
			r := play(t, c, b, straight)
			if r.failed {
				t.Errorf("base %d: %s", b, r.text)
			}
			played[c.Name] = played[c.Name] || !r.skipped
		}
	}
	for _, c := range bustest.Cases() {
		if !played[c.Name] {
			t.Errorf("%s was never played", c.Name)
		}
	}
}

// play runs one case in a bubble, where waiting costs nothing, and tells how it ended.
func play(t *testing.T, c bustest.Case, b base, twisted func() twist) *recorder {
	t.Helper()
	var r *recorder
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r = &recorder{TB: t, ctx: ctx}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.Check(r, bustest.Config{}, harness(b, twisted))
		}()
		<-ended
		cancel()
		r.clean()
	})
	return r
}

// recorder takes the place of a test whose failure is wanted.
type recorder struct {
	testing.TB
	ctx context.Context

	mu       sync.Mutex
	failed   bool
	skipped  bool
	text     string
	cleanups []func()
}

func (r *recorder) note(set *bool, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*set = true
	r.text += text + "\n"
}

func (r *recorder) Helper()                   {}
func (r *recorder) Context() context.Context  { return r.ctx }
func (r *recorder) Error(args ...any)         { r.note(&r.failed, fmt.Sprint(args...)) }
func (r *recorder) Errorf(f string, a ...any) { r.note(&r.failed, fmt.Sprintf(f, a...)) }

func (r *recorder) Fatal(args ...any) {
	r.note(&r.failed, fmt.Sprint(args...))
	runtime.Goexit()
}

func (r *recorder) Fatalf(f string, a ...any) {
	r.note(&r.failed, fmt.Sprintf(f, a...))
	runtime.Goexit()
}

func (r *recorder) Skipf(f string, a ...any) {
	r.note(&r.skipped, fmt.Sprintf(f, a...))
	runtime.Goexit()
}

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) clean() {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
}
