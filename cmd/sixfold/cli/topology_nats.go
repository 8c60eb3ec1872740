package cli

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/nats"
)

// natsTopology is what a topology file says for NATS alone.
type natsTopology struct {
	Streams []struct {
		Topic       string   `toml:"topic"`
		Lanes       int      `toml:"lanes"`
		Replicas    int      `toml:"replicas"`
		Dedup       duration `toml:"dedup"`
		MaxAge      duration `toml:"max_age"`
		MaxBytes    int64    `toml:"max_bytes"`
		MaxMessages int64    `toml:"max_messages"`
		Storage     string   `toml:"storage"`
		Discard     string   `toml:"discard"`
		Existing    bool     `toml:"existing"`
	} `toml:"stream"`
}

// typed is the driver's topology, with the topics that say how they should be.
func (t *natsTopology) typed(topics []topic) (*nats.Topology, error) {
	var streams []nats.Stream
	for _, x := range topics {
		if x.Lanes > 0 || x.Replicas > 0 || x.Dedup > 0 {
			streams = append(streams, nats.Stream{Topic: x.Name, Lanes: x.Lanes, Replicas: x.Replicas, Dedup: time.Duration(x.Dedup)})
		}
	}
	for _, s := range t.Streams {
		streams = append(streams, nats.Stream{Topic: s.Topic, Lanes: s.Lanes, Replicas: s.Replicas, Dedup: time.Duration(s.Dedup), MaxAge: time.Duration(s.MaxAge),
			MaxBytes: s.MaxBytes, MaxMessages: s.MaxMessages, Storage: s.Storage, Discard: s.Discard, Existing: s.Existing})
	}
	return nats.NewTopology(streams...)
}

// check implements section.
func (t *natsTopology) check(topics []topic) error {
	_, err := t.typed(topics)
	return err
}

// compare implements broker. Groups need no place of their own: a stream keeps its messages for all of them.
func (b *natsBroker) compare(ctx context.Context, t *topology) ([]bus.Part, error) {
	own, err := t.NATS.typed(t.Topics)
	if err != nil {
		return nil, err
	}
	parts, err := b.t.CheckTopology(ctx, own)
	if err != nil {
		return nil, b.failed("compare the topology", err)
	}
	return parts, nil
}

// complete implements broker.
func (b *natsBroker) complete(ctx context.Context, t *topology) error {
	own, err := t.NATS.typed(nil) // topics are made by declare
	if err != nil {
		return err
	}
	maker, err := nats.NewConn(b.nc, &nats.Options{OnePerKey: true}) // which is for senders to know, and allows every stream
	if err != nil {
		return err
	}
	defer maker.Close(context.WithoutCancel(ctx))
	if err := maker.DeclareTopology(ctx, own); err != nil {
		return b.failed("make the topology", err)
	}
	return nil
}
