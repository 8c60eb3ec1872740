package sixfold_test

import (
	"context"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold"
)

const (
	trace1 = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	trace2 = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-00"
)

func newPlaced(t *testing.T, ctx context.Context) *sixfold.Envelope {
	t.Helper()
	env, err := sixfold.NewEnvelope(ctx, "shop", nil, placed{OrderID: "o1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := sixfold.CheckEnvelope(env); err != nil {
		t.Fatalf("it cannot be published: %v", err)
	}
	return env
}

func within(ctx context.Context, env *sixfold.Envelope) context.Context {
	return sixfold.WithInfo(ctx, &sixfold.Info{Envelope: env, Topic: "orders", Consumer: "shipping", Attempt: 1})
}

func TestFirstOfAChainCorrelatesToItself(t *testing.T) {
	env := newPlaced(t, t.Context())
	if env.CorrelationID != env.ID || env.CausationID != "" || env.TraceParent != "" {
		t.Errorf("%q %q %q", env.CorrelationID, env.CausationID, env.TraceParent)
	}
}

func TestCorrelationCausationAndTraceTravel(t *testing.T) {
	ctx := sixfold.WithTrace(sixfold.WithCorrelation(t.Context(), "request-1"), trace1, "v=1")
	first := newPlaced(t, ctx)
	second := newPlaced(t, within(t.Context(), first))
	third := newPlaced(t, within(t.Context(), second))
	for i, env := range []*sixfold.Envelope{first, second, third} {
		if env.CorrelationID != "request-1" || env.TraceParent != trace1 || env.TraceState != "v=1" {
			t.Errorf("number %d: %q %q %q", i+1, env.CorrelationID, env.TraceParent, env.TraceState)
		}
	}
	if second.CausationID != first.ID || third.CausationID != second.ID {
		t.Error("the cause is the message whose handler published")
	}
}

func TestWhatAHandlerSetsItselfWins(t *testing.T) {
	from := newPlaced(t, sixfold.WithTrace(t.Context(), trace1, "v=1"))
	ctx := sixfold.WithTrace(sixfold.WithCorrelation(within(t.Context(), from), "mine"), trace2, "")
	env := newPlaced(t, ctx)
	if env.CorrelationID != "mine" || env.TraceParent != trace2 || env.TraceState != "" || env.CausationID != from.ID {
		t.Errorf("%q %q %q %q", env.CorrelationID, env.TraceParent, env.TraceState, env.CausationID)
	}
}

// A process that sets a correlation around its consumers must not put all their messages into one conversation.
func TestWhatWasSetAroundAConsumerIsNotItsMessages(t *testing.T) {
	process := sixfold.WithTrace(sixfold.WithCorrelation(t.Context(), "start-up"), trace2, "")
	from := newPlaced(t, sixfold.WithTrace(sixfold.WithCorrelation(t.Context(), "request-1"), trace1, ""))
	env := newPlaced(t, within(process, from))
	if env.CorrelationID != "request-1" || env.TraceParent != trace1 {
		t.Errorf("%q %q", env.CorrelationID, env.TraceParent)
	}
}

func TestOwnValuesAreKept(t *testing.T) {
	from := newPlaced(t, t.Context())
	env := &sixfold.Envelope{ID: "i", CorrelationID: "c", CausationID: "k", TraceParent: trace2}
	sixfold.Join(within(sixfold.WithTrace(t.Context(), trace1, "v=1"), from), env)
	if env.CorrelationID != "c" || env.CausationID != "k" || env.TraceParent != trace2 || env.TraceState != "" {
		t.Errorf("%+v", []string{env.CorrelationID, env.CausationID, env.TraceParent, env.TraceState})
	}
}

func TestBatchHandlerSaysWhichOneCaused(t *testing.T) {
	a := newPlaced(t, sixfold.WithCorrelation(t.Context(), "ca"))
	b := newPlaced(t, sixfold.WithTrace(sixfold.WithCorrelation(t.Context(), "cb"), trace1, ""))
	ctx := sixfold.WithInfo(t.Context(), &sixfold.Info{Envelope: a, Envelopes: []*sixfold.Envelope{a, b}, Consumer: "shipping", Attempt: 3})
	ctx = sixfold.WithCorrelation(ctx, "the batch")
	one := sixfold.ForEnvelope(ctx, b)
	if info := sixfold.InfoFrom(one); info.Envelope != b || len(info.Envelopes) != 2 || info.Attempt != 3 || info.Consumer != "shipping" {
		t.Errorf("%+v", info)
	}
	if env := newPlaced(t, one); env.CorrelationID != "cb" || env.CausationID != b.ID || env.TraceParent != trace1 {
		t.Errorf("%q %q %q", env.CorrelationID, env.CausationID, env.TraceParent)
	}
	foreign := sixfold.InfoFrom(sixfold.ForEnvelope(ctx, newPlaced(t, t.Context())))
	if foreign.Envelopes != nil {
		t.Error("a foreign envelope is none of the batch")
	}
	if alone := sixfold.InfoFrom(sixfold.ForEnvelope(t.Context(), b)); alone.Envelope != b || alone.Attempt != 1 {
		t.Errorf("%+v", alone)
	}
	if sixfold.InfoFrom(ctx).Envelope != a {
		t.Error("the outer context was changed")
	}
}

func TestInfoOutsideOfAHandler(t *testing.T) {
	if sixfold.InfoFrom(t.Context()) != nil {
		t.Error("not nil")
	}
	// A consumer that knows no envelope must not make publishing panic.
	if env := newPlaced(t, sixfold.WithInfo(t.Context(), &sixfold.Info{})); env.CorrelationID != env.ID {
		t.Error(env.CorrelationID)
	}
}

// What a hostile sender writes must not make its receiver's own messages unfit to be published.
func TestOddValuesFromTheWireAreNotInherited(t *testing.T) {
	long := strings.Repeat("x", 256)
	for _, bad := range []string{"a\r\nb", "a\x00b", "\xff", long} {
		from := &sixfold.Envelope{ID: bad, CorrelationID: bad, TraceParent: bad, TraceState: bad}
		env := newPlaced(t, within(t.Context(), from))
		if env.CorrelationID != env.ID || env.CausationID != "" || env.TraceParent != "" || env.TraceState != "" {
			t.Errorf("%.8q: %q %q %q", bad, env.CorrelationID, env.CausationID, env.TraceParent)
		}
	}
	from := &sixfold.Envelope{ID: "fine", CorrelationID: long}
	if env := newPlaced(t, within(t.Context(), from)); env.CorrelationID != "fine" {
		t.Error(env.CorrelationID)
	}
}

func TestGarbageTraceBeginsANewOne(t *testing.T) {
	for _, bad := range []string{
		"", "garbage", trace1 + "-x", strings.ToUpper(trace1), "ff" + trace1[2:], "0g" + trace1[2:], trace1[:54],
		strings.Replace(trace1, "-", "_", 1), "00-" + strings.Repeat("0", 32) + "-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-" + strings.Repeat("0", 16) + "-01", "01" + trace1[2:] + "x", "01" + trace1[2:] + "-\n",
		"01" + trace1[2:] + "-" + strings.Repeat("x", 255),
	} {
		if env := newPlaced(t, sixfold.WithTrace(t.Context(), bad, "v=1")); env.TraceParent != "" || env.TraceState != "" {
			t.Errorf("%q was carried on", bad)
		}
	}
	for _, good := range []string{trace1, "cc" + trace1[2:], "01" + trace1[2:] + "-more"} {
		if env := newPlaced(t, sixfold.WithTrace(t.Context(), good, "v=1")); env.TraceParent != good || env.TraceState != "v=1" {
			t.Errorf("%q was not carried on", good)
		}
	}
	for _, bad := range []string{"a\r\nx: y", strings.Repeat("x", 513), "é"} {
		if env := newPlaced(t, sixfold.WithTrace(t.Context(), trace1, bad)); env.TraceParent != trace1 || env.TraceState != "" {
			t.Errorf("tracestate %q: %q %q", bad, env.TraceParent, env.TraceState)
		}
	}
}
