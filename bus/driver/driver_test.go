package driver_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

func TestWindow(t *testing.T) {
	var w driver.Window[string]
	for _, v := range []string{"a", "b", "c"} {
		w.Push(v, 10)
	}
	if v, ok := w.Take(1); !ok || v != "b" || w.Oldest() != 0 {
		t.Errorf("taken out of the middle: %q, oldest %d", v, w.Oldest())
	}
	if _, ok := w.Take(1); ok {
		t.Error("taken twice")
	}
	if n, ok := w.Find(func(v *string) bool { return *v > "a" }); !ok || n != 2 {
		t.Errorf("found %d, %v", n, ok)
	}
	if w.Take(0); w.Oldest() != 2 || w.Empty() {
		t.Errorf("oldest %d", w.Oldest())
	}
	if _, ok := w.Take(7); ok {
		t.Error("one that was never in flight")
	}
	for !w.Full(10) {
		w.Push("", 10)
	}
	if n := w.Next() - w.Oldest(); n != driver.WindowSlots {
		t.Errorf("full with %d", n)
	}
	if w.Low() {
		t.Error("full and low")
	}
	var big driver.Window[int]
	big.Start(1)
	if big.Full(2 * driver.WindowBytes) {
		t.Error("a message larger than the window never goes")
	}
	if n := big.Push(0, driver.WindowBytes); n != 1 || !big.Full(1) {
		t.Errorf("number %d; the window is not bounded in bytes", n)
	}
	big.Take(1)
	if big.Push(0, driver.WindowBytes-1); big.Full(1) || !big.Full(2) {
		t.Error("the bound in bytes is another one")
	}
}

func TestQueueKeepsItsOrder(t *testing.T) {
	var q driver.Queue[int]
	next, want := 0, 0
	for step := range 2000 {
		for range step % 7 {
			q.Push(next)
			next++
		}
		for i := range q.Len() {
			if *q.At(i) != want+i {
				t.Fatalf("at %d: %d, want %d", i, *q.At(i), want+i)
			}
		}
		for range min(step%6, q.Len()) {
			if got := q.Pop(); got != want {
				t.Fatalf("%d, want %d", got, want)
			}
			want++
		}
	}
}

// What has no answer when the caller's patience ends is in doubt; what has one keeps it.
func TestBatchInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		b := driver.NewBatch("pigeon", &mu, 3)
		refused := errors.New("refused")
		ended := make(chan []error)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		mu.Lock()
		b.Settle(0, nil)
		b.Settle(1, refused)
		b.Handed()
		mu.Unlock()
		go func() { ended <- b.Wait(ctx) }()
		errs := <-ended
		if errs[0] != nil || errs[1] != refused || !errors.Is(errs[2], context.DeadlineExceeded) || !strings.HasPrefix(errs[2].Error(), "pigeon: wait: ") {
			t.Errorf("%v", errs)
		}
		go func() { ended <- b.Wait(t.Context()) }()
		synctest.Wait()
		mu.Lock()
		b.Settle(2, nil)
		mu.Unlock()
		if errs := <-ended; errs[2] != nil {
			t.Errorf("%v", errs)
		}
	})
}

// What is answered stays answered: also for whoever comes with a context that has ended, and for whoever changes what it was given.
func TestBatchThatIsDone(t *testing.T) {
	var mu sync.Mutex
	refused := errors.New("refused")
	b := driver.NewBatch("pigeon", &mu, 2)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	for ctx, want := range map[context.Context]error{ended: context.Canceled, late: context.DeadlineExceeded} { // nothing has come
		if errs := b.Wait(ctx); len(errs) != 2 || !errors.Is(errs[0], want) || !errors.Is(errs[1], want) {
			t.Errorf("%v, want %v", errs, want)
		}
	}
	mu.Lock()
	b.Handed()
	b.Settle(1, refused)
	b.Settle(0, nil)
	mu.Unlock()
	for i := range 100 {
		errs := b.Wait(ended)
		if len(errs) != 2 || errs[0] != nil || errs[1] != refused {
			t.Fatalf("%d: %v", i, errs)
		}
		errs[0], errs[1] = refused, nil
	}
	none := driver.NewBatch("pigeon", &mu, 0)
	mu.Lock()
	none.Handed()
	mu.Unlock()
	if errs := none.Wait(t.Context()); len(errs) != 0 {
		t.Errorf("of nothing: %v", errs)
	}
}

// While Send runs, nobody has all answers.
func TestBatchIsOpenUntilItIsHanded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		b := driver.NewBatch("pigeon", &mu, 1)
		done := make(chan []error, 1)
		go func() { done <- b.Wait(t.Context()) }()
		mu.Lock()
		b.Settle(0, nil)
		mu.Unlock()
		synctest.Wait()
		if len(done) > 0 {
			t.Error("it ended while Send ran")
		}
		mu.Lock()
		b.Handed()
		mu.Unlock()
		if errs := <-done; errs[0] != nil {
			t.Error(errs)
		}
	})
}

// A topic is looked up once by however many ask, and again when what was found is too old.
func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var known driver.Known[int]
		looks := 0
		find := func(answer int, err error) func(context.Context, string) (int, error) {
			return func(context.Context, string) (int, error) {
				time.Sleep(time.Millisecond)
				looks++
				return answer, err
			}
		}
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if n, err := known.Find(t.Context(), "a", find(7, nil)); n != 7 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
			})
		}
		all.Wait()
		time.Sleep(driver.BelieveFound + 1)
		known.Find(t.Context(), "a", find(8, nil))
		known.Forget("a")
		known.Find(t.Context(), "a", find(8, nil))
		if looks != 3 {
			t.Errorf("%d looks, want 3", looks)
		}
		missing := fmt.Errorf("%w: nowhere", bus.ErrUnroutable)
		known.Find(t.Context(), "b", find(0, missing))
		if _, err := known.Find(t.Context(), "b", find(0, nil)); !errors.Is(err, bus.ErrUnroutable) || looks != 4 {
			t.Errorf("%v after %d looks", err, looks)
		}
		known.Find(t.Context(), "c", find(0, bus.ErrUnavailable))
		if _, err := known.Find(t.Context(), "c", find(0, nil)); err != nil || looks != 6 {
			t.Errorf("an outage was remembered: %v after %d looks", err, looks)
		}
	})
}

// What is not there is believed for a moment only, what was learned otherwise as long as what was found, and who forgets while somebody looks is
// not told the old answer afterwards. Whoever waits for another one's look gives up with its context.
func TestKnownForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var known driver.Known[int]
		answer := func(n int, err error) func(context.Context, string) (int, error) {
			return func(context.Context, string) (int, error) { return n, err }
		}
		known.Find(t.Context(), "a", answer(0, bus.ErrUnroutable))
		time.Sleep(driver.BelieveMissing + 1)
		if n, err := known.Find(t.Context(), "a", answer(3, nil)); n != 3 || err != nil {
			t.Errorf("what was missing a moment ago: %d, %v", n, err)
		}
		known.Learn("a", 4)
		time.Sleep(driver.BelieveFound - 1)
		if n, err := known.Find(t.Context(), "a", answer(5, nil)); n != 4 || err != nil {
			t.Errorf("what was learned: %d, %v", n, err)
		}
		look, looks := make(chan int), make(chan int, 1)
		go func() {
			n, _ := known.Find(t.Context(), "b", func(context.Context, string) (int, error) { return <-look, nil })
			looks <- n
		}()
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := known.Find(short, "b", answer(0, nil)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("while somebody looks: %v", err)
		}
		known.Forget("b")
		look <- 6
		if n := <-looks; n != 6 {
			t.Errorf("the first look: %d", n)
		}
		if n, err := known.Find(t.Context(), "b", answer(7, nil)); n != 7 || err != nil {
			t.Errorf("forgotten while somebody looked: %d, %v", n, err)
		}
	})
}

// However many topics there are, the memory of them is bounded.
func TestKnownIsBounded(t *testing.T) {
	var known driver.Known[[1 << 10]byte]
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 60_000 {
		known.Learn(fmt.Sprint("topic-", i), [1 << 10]byte{})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := int64(after.HeapAlloc) - int64(before.HeapAlloc); n > 30<<20 {
		t.Errorf("%d MiB are held", n>>20)
	}
	looked := false
	known.Find(t.Context(), "topic-59999", func(context.Context, string) (v [1 << 10]byte, err error) { looked = true; return v, nil })
	if looked {
		t.Error("the last one is not known")
	}
}

// Feeds give in turn, and a single one all at once.
func TestTurns(t *testing.T) {
	var turns driver.Turns
	left := []int{40, 3, 0}
	var gave []string
	hand := func(feed, most int) int {
		n := min(most, left[feed])
		left[feed] -= n
		if n > 0 {
			gave = append(gave, fmt.Sprint(feed, "x", n))
		}
		return n
	}
	turns.Take(3, 30, 16, hand)
	turns.Take(3, 30, 16, hand)
	turns.Take(0, 30, 16, hand)
	left = []int{40}
	turns.Take(1, 30, 16, hand)
	if want := []string{"0x16", "1x3", "0x11", "0x13", "0x30"}; !slices.Equal(gave, want) {
		t.Errorf("%v, want %v", gave, want)
	}
}

func TestCheckSubscription(t *testing.T) {
	err := driver.CheckSubscription(bus.Subscription{Topics: []string{"a", "a", ""}, MaxInFlight: -1}, func(topic string) error {
		if topic == "" {
			return errors.New("a topic is empty")
		}
		return nil
	})
	if !errors.Is(err, bus.ErrRefused) {
		t.Fatal(err)
	}
	if err := driver.CheckSubscription(bus.Subscription{}, func(string) error { return nil }, errors.New("no group")); !errors.Is(err, bus.ErrRefused) ||
		!strings.Contains(err.Error(), "there is no topic") || !strings.Contains(err.Error(), "no group") {
		t.Errorf("without a topic: %v", err)
	}
	for _, want := range []string{`"a" is there twice`, "a topic is empty", "MaxInFlight is negative (-1)"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if err := driver.CheckSubscription(bus.Subscription{Topics: []string{"a"}}, func(string) error { return nil }); err != nil {
		t.Error(err)
	}
}

func TestQuote(t *testing.T) {
	long := strings.Repeat("é", 64)
	for s, want := range map[string]string{"": `""`, "a\x1b[2J\n": `"a\x1b[2J\n"`, long: `"` + long + `"`, long + "é": `"` + long + `…"`} {
		if got := driver.Quote(s); got != want {
			t.Errorf("%q is %s, want %s", s, got, want)
		}
	}
}

func TestBellRingsWhoWaits(t *testing.T) {
	b := driver.NewBell()
	b.Ring()
	select {
	case <-b.C():
		t.Error("it rang for nobody")
	default:
	}
	b.Wait(true)
	b.Ring()
	b.Ring()
	if <-b.C(); b.Awaited() {
		t.Error("it still waits")
	}
	for range 3 { // nobody looks, and who rings does not wait for that
		b.Wait(true)
		b.Ring()
	}
	<-b.C()
	select {
	case <-b.C():
		t.Error("it rang more than once")
	default:
	}
}
