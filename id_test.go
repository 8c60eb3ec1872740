package sixfold_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
)

func TestNewIDIsAUUIDOfVersion7(t *testing.T) {
	before := time.Now().UnixMilli()
	for range 1000 {
		s := sixfold.NewID()
		u, err := sixfold.ParseID(s)
		if err != nil {
			t.Fatal(err)
		}
		if u[6]>>4 != 7 || u[8]>>6 != 2 || s != strings.ToLower(s) {
			t.Fatalf("%s: version %d, variant %d", s, u[6]>>4, u[8]>>6)
		}
		ms := int64(u[0])<<40 | int64(u[1])<<32 | int64(u[2])<<24 | int64(u[3])<<16 | int64(u[4])<<8 | int64(u[5])
		if ms < before || ms > time.Now().UnixMilli() {
			t.Fatalf("%s: %d ms lie outside of now", s, ms)
		}
	}
}

func TestNewIDIsUnique(t *testing.T) {
	const workers, each = 4, 250_000
	all := make([][]string, workers)
	var wg sync.WaitGroup
	for w := range workers {
		all[w] = make([]string, each)
		wg.Go(func() {
			for i := range all[w] {
				all[w][i] = sixfold.NewID()
			}
		})
	}
	wg.Wait()
	seen := make(map[string]struct{}, workers*each)
	for _, ids := range all {
		for _, id := range ids {
			seen[id] = struct{}{}
		}
	}
	if len(seen) != workers*each {
		t.Errorf("%d ids of %d differ", len(seen), workers*each)
	}
}

// Two random parts must never be alike, whatever the clock says: here it stands still.
func TestNewIDIsUniqueWhileTheClockStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[string]bool{}
		first := sixfold.NewID()
		for range 100_000 {
			id := sixfold.NewID()
			if id[:18] != first[:18] {
				t.Fatalf("%s and %s differ in their time", first, id)
			}
			seen[id] = true
		}
		if len(seen) != 100_000 {
			t.Errorf("%d of 100000 differ", len(seen))
		}
	})
}

func TestNewIDIsInTheOrderOfTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		last := sixfold.NewID()
		for i := range 20_000 {
			step := 245 * time.Nanosecond // the resolution of twelve bits, rounded up
			if i%100 == 0 {
				step = 3 * time.Millisecond
			}
			time.Sleep(step) // of the bubble's own clock
			id := sixfold.NewID()
			if id <= last {
				t.Fatalf("%s came after %s", id, last)
			}
			last = id
		}
	})
}

func TestNewIDAllocatesOnce(t *testing.T) {
	if n := testing.AllocsPerRun(10_000, func() { _ = sixfold.NewID() }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestParseID(t *testing.T) {
	const s = "018f4d3e-7d4c-7b3a-9c0a-0123456789ab"
	a, err := sixfold.ParseID(s)
	if err != nil {
		t.Fatal(err)
	}
	b, err := sixfold.ParseID(strings.ToUpper(s))
	if err != nil || a != b || a[0] != 0x01 || a[15] != 0xab {
		t.Errorf("%x, %x, %v", a, b, err)
	}
	for _, bad := range []string{
		"", "4711", s[1:], s + "0", "{" + s + "}", strings.ReplaceAll(s, "-", ""), strings.Replace(s, "-", "_", 1), "g" + s[1:],
		"urn:uuid:" + s, strings.Repeat("-", 36), "018f4d3e\n7d4c-7b3a-9c0a-0123456789ab", strings.Repeat("x", 10_000),
	} {
		_, err := sixfold.ParseID(bad)
		refused(t, bad, err)
		if !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func BenchmarkNewID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = sixfold.NewID()
	}
}

func BenchmarkNewIDParallel(b *testing.B) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = sixfold.NewID()
		}
	})
}
