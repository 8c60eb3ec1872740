package sixfold_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
)

func TestRetryDelay(t *testing.T) {
	for _, base := range []time.Duration{1, 2, 100 * time.Millisecond, time.Hour, math.MaxInt64} {
		for _, limit := range []time.Duration{1, time.Second, time.Minute, math.MaxInt64} {
			if base > limit {
				continue
			}
			for _, n := range []int{math.MinInt, -1, 0, 1, 2, 10, 30, 40, 61, 62, 63, 64, 200, math.MaxInt} {
				d := sixfold.Retry{MinBackoff: base, MaxBackoff: limit}.Delay(n)
				if d < 0 || d > limit {
					t.Errorf("attempt %d from %v up to %v: %v", n, base, limit, d)
				}
				if base > 2 && n >= 62 && d < limit/2 {
					t.Errorf("attempt %d from %v up to %v: only %v", n, base, limit, d)
				}
			}
		}
	}
	for range 1000 {
		if d := (sixfold.Retry{}).Delay(3); d < 200*time.Millisecond || d > 400*time.Millisecond {
			t.Fatal(d)
		}
	}
	if d := (sixfold.Retry{Backoff: func(n int) time.Duration { return time.Duration(n-2) * time.Second }}).Delay(1); d != 0 {
		t.Error(d)
	}
}

func TestRetryIsInherited(t *testing.T) {
	slow := errors.New("slow down")
	consumer := sixfold.Retry{MaxAttempts: 5, MinBackoff: time.Second, MaxBackoff: time.Minute, AfterDead: sixfold.GoOn,
		Classes: []sixfold.RetryClass{sixfold.ErrorIs(slow, sixfold.Retry{MaxAttempts: 50, MinBackoff: time.Hour}), sixfold.ErrorIs(io.EOF, sixfold.Retry{MaxAttempts: 1})}}
	text := func(p sixfold.Retry) string {
		return fmt.Sprint(p.MaxAttempts, p.MinBackoff, p.MaxBackoff, p.AfterDead)
	}
	for _, c := range []struct {
		name string
		got  sixfold.Retry
		want string
	}{
		{"nothing is given", sixfold.Retry{}.For(nil), "16 100ms 10m0s 1"},
		{"the consumer's", sixfold.Retry{}.Or(consumer).For(io.ErrClosedPipe), "5 1s 1m0s 2"},
		{"a route's own", sixfold.Retry{MaxAttempts: 2, AfterDead: sixfold.HoldKey}.Or(consumer).For(io.ErrClosedPipe), "2 1s 1m0s 1"},
		{"a class raises the other bound", sixfold.Retry{}.Or(consumer).For(fmt.Errorf("wrapped: %w", slow)), "50 1h0m0s 1h0m0s 2"},
		{"a class with attempts only", sixfold.Retry{}.Or(consumer).For(io.EOF), "1 1s 1m0s 2"},
		{"one bound below the other's default", sixfold.Retry{MaxBackoff: time.Millisecond}.For(nil), "16 1ms 1ms 1"},
		{"a route's bound below the consumer's", sixfold.Retry{MaxBackoff: time.Millisecond}.Or(consumer).For(io.ErrClosedPipe), "5 1ms 1ms 2"},
	} {
		if text(c.got) != c.want {
			t.Errorf("%s: %s, want %s", c.name, text(c.got), c.want)
		}
	}
}

func TestRetryRefuses(t *testing.T) {
	for _, c := range []struct {
		retry sixfold.Retry
		says  string
	}{
		{sixfold.Retry{MaxAttempts: -1}, "MaxAttempts -1: give 1 or more"},
		{sixfold.Retry{MinBackoff: -1}, "give positive times"},
		{sixfold.Retry{MinBackoff: time.Hour, MaxBackoff: time.Second}, "MinBackoff 1h0m0s is longer than MaxBackoff 1s"},
		{sixfold.Retry{MinBackoff: 1, Backoff: func(int) time.Duration { return 0 }}, "both given"},
		{sixfold.Retry{AfterDead: 7}, "AfterDead 7: give HoldKey or GoOn"},
		{sixfold.Retry{Classes: []sixfold.RetryClass{{}}}, "class number 1 matches nothing"},
		{sixfold.Retry{Classes: []sixfold.RetryClass{sixfold.ErrorIs(io.EOF, sixfold.Retry{MaxAttempts: -2})}}, "MaxAttempts -2"},
		{sixfold.Retry{Classes: []sixfold.RetryClass{sixfold.ErrorIs(io.EOF, sixfold.Retry{Classes: []sixfold.RetryClass{{}}})}}, "classes of its own"},
	} {
		err := c.retry.Check()
		if !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c.retry, err, c.says)
		}
		r := sixfold.Raw(func(context.Context, *sixfold.Envelope) error { return nil }).Retrying(c.retry)
		if r.Err() == nil {
			t.Errorf("%+v: a route takes it", c.retry)
		}
	}
	if err := (sixfold.Retry{MaxAttempts: 1, MaxBackoff: time.Second}).Check(); err != nil {
		t.Error(err)
	}
}
