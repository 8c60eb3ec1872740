package request

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
)

// The alarm knows the earliest deadline, whatever is added and removed, and each slot its place.
func TestAlarm(t *testing.T) {
	var a alarm
	var waits []*slot
	r := rand.New(rand.NewPCG(1, 2))
	begin := time.Now()
	for range 20_000 {
		if len(waits) == 0 || r.IntN(100) < 55 {
			s := &slot{until: begin.Add(time.Duration(r.IntN(1000)) * time.Millisecond)}
			waits = append(waits, s)
			a.add(s)
		} else {
			i := r.IntN(len(waits))
			a.remove(waits[i])
			waits = slices.Delete(waits, i, i+1)
		}
		if len(a.heap) != len(waits) {
			t.Fatalf("it has %d, not %d", len(a.heap), len(waits))
		}
		for i, s := range a.heap {
			if s.at != i || s.until.Before(a.heap[0].until) {
				t.Fatalf("number %d says %d, %v after the first", i, s.at, s.until.Sub(a.heap[0].until))
			}
		}
		if len(waits) > 200 {
			waits = waits[:0]
			a = alarm{}
		}
	}
}

// guarantees: Q1
//
// Each call ends at its own deadline, whether it is earlier than those before it or later, and a quiet client has no timer.
func TestEachCallEndsAtItsOwnDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := NewClient(silent{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		ends := make(chan error, 100)
		for i := range 100 {
			ms := time.Duration(10+(i*37)%100) * time.Millisecond
			go func() {
				_, err := Send(t.Context(), c, knock{}, Timeout(ms))
				if took := time.Since(begin); !errors.Is(err, ErrTimeout) || took != ms {
					err = errors.Join(errors.New(ms.String()+" took "+took.String()), err)
				} else {
					err = nil
				}
				ends <- err
			}()
		}
		for range 100 {
			if err := <-ends; err != nil {
				t.Error(err)
			}
		}
		if c.mu.Lock(); !c.alarm.at.IsZero() || len(c.alarm.heap) != 0 {
			t.Errorf("the alarm is set for %v, and %d wait", c.alarm.at, len(c.alarm.heap))
		}
		c.mu.Unlock()
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// silent is a lane that carries nothing anywhere.
type silent struct{}

func (silent) Capabilities() Capabilities { return Capabilities{Name: "silent"} }
func (silent) Check(string) error         { return nil }
func (silent) Open(context.Context, Replies) (Port, error) {
	return silent{}, nil
}
func (silent) Listen(context.Context, []string, Requests) (Ear, error) {
	return nil, errors.ErrUnsupported
}
func (silent) Ask(context.Context, string, *Packet) error { return nil }
func (silent) Close(context.Context) error                { return nil }

// knock is what nobody answers.
type knock struct {
	sixfold.Returns[int] `json:"-"`
}

func (knock) MessageName() string { return "knock" }
