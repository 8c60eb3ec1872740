package natstest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/transport/nats"
)

func TestTopologyIsDeclaredAndCompared(t *testing.T) {
	f := newFixture(t, nil)
	one, two := f.topic(), f.topic()
	tr := f.connect(t, f.url, nil)
	topology := func(streams ...nats.Stream) *nats.Topology {
		all, err := nats.NewTopology(streams...)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	stream := nats.Stream{Topic: one, Lanes: 3, Dedup: time.Minute, MaxAge: -1, MaxBytes: 1 << 20, MaxMessages: 7, Storage: "memory", Discard: "old"}
	check := func(of *nats.Topology, want ...bus.Part) {
		t.Helper()
		got, err := tr.CheckTopology(t.Context(), of)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	both := topology(stream, nats.Stream{Topic: two, Existing: true})
	check(both, bus.Part{Name: "stream of " + one, State: bus.Missing}, bus.Part{Name: "stream of " + two, State: bus.Missing})
	if err := tr.DeclareTopology(t.Context(), both); !errors.Is(err, bus.ErrUnroutable) || !strings.Contains(err.Error(), two) || strings.Contains(err.Error(), one) {
		t.Errorf("one that should exist: %v", err)
	}
	check(both, bus.Part{Name: "stream of " + one, State: bus.There}, bus.Part{Name: "stream of " + two, State: bus.Missing})
	other := stream
	other.Lanes, other.Dedup, other.MaxAge, other.MaxBytes, other.MaxMessages, other.Storage, other.Discard = 4, time.Hour, time.Hour, -1, 8, "file", "new"
	check(topology(other), bus.Part{Name: "stream of " + one, State: bus.Differs, Text: "lanes should be 4 and is 3, dedup should be 1h0m0s and is 1m0s, " +
		"max age should be 1h0m0s and is 0s, max bytes should be -1 and is 1048576, max messages should be 8 and is 7, storage should be file and is memory, discard should be new and is old"})
	other.Topic = two
	if err := tr.DeclareTopology(t.Context(), topology(other)); !errors.Is(err, bus.ErrRefused) || !strings.Contains(err.Error(), "OnePerKey") {
		t.Errorf("a stream that can refuse: %v", err)
	}
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(one, "k/1")...)
	if err := tr.DeclareTopology(t.Context(), topology(nats.Stream{Topic: one, Lanes: 4})); err != nil {
		t.Errorf("what is there stays as it is: %v", err)
	}
}

func TestTopologyIsValidated(t *testing.T) {
	_, err := nats.NewTopology(nats.Stream{Topic: "a b"}, nats.Stream{Topic: "a", Lanes: 65, Replicas: 6, Dedup: 1, Storage: "tape", Discard: "all"}, nats.Stream{Topic: "a"})
	if !errors.Is(err, sixfold.ErrInvalid) {
		t.Fatal(err)
	}
	for _, want := range []string{`"a b"`, "Lanes is 65", "Replicas is 6", "Dedup is 1ns", `Storage is "tape"`, `Discard is "all"`, "there twice"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}
