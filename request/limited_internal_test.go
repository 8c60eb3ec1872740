package request

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

type colour struct{}

// A limited is as good a context as any: with and without a Done that somebody asked for.
func TestLimited(t *testing.T) {
	for _, asked := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			parent, cancel := context.WithCancel(context.WithValue(t.Context(), colour{}, "green"))
			fresh := func() *limited {
				l := &limited{Context: parent, deadline: time.Now().Add(time.Second)}
				if asked {
					l.Done()
				}
				return l
			}
			l := fresh()
			if at, ok := l.Deadline(); !ok || at != l.deadline || l.Err() != nil || l.Value(colour{}) != "green" {
				t.Error(at, ok, l.Err(), l.Value(colour{}))
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if err := l.Err(); err != context.DeadlineExceeded || context.Cause(l) != context.DeadlineExceeded {
				t.Errorf("after its deadline: %v, because of %v", err, context.Cause(l))
			}
			<-l.Done()

			l = fresh()
			l.end()
			l.end()
			if err := l.Err(); err != context.Canceled {
				t.Errorf("after its end: %v", err)
			}
			<-l.Done()
			if err := l.Err(); err != context.Canceled {
				t.Errorf("after its end: %v", err)
			}

			l = fresh()
			child, stop := context.WithCancel(l)
			defer stop()
			l.end()
			if child.Err() == nil {
				t.Error("a child does not end with it, but by a goroutine of its own")
			}

			l = fresh()
			l.deadline = l.deadline.Add(time.Hour)
			cancel()
			synctest.Wait()
			if err := l.Err(); err != context.Canceled {
				t.Errorf("after its parent's end: %v", err)
			}
			<-l.Done()
		})
	}
}
