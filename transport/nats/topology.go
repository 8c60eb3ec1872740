package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// A Topology describes streams, each for one topic. It is immutable.
type Topology struct{ streams []Stream }

// Stream describes the stream of a topic. What is zero is made as the Transport's options say, and is not looked at by
// CheckTopology.
type Stream struct {
	Topic string
	// Lanes of the topic, 1 to 64.
	Lanes int
	// Replicas of the stream, 1 to 5.
	Replicas int
	// Dedup is the window in which a second message of an id is dropped, at least 100 ms.
	Dedup time.Duration
	// MaxAge is how long messages stay. Negative: for ever.
	MaxAge time.Duration
	// MaxBytes and MaxMessages bound the stream. Negative: no bound.
	MaxBytes, MaxMessages int64
	// Storage is "file" or "memory".
	Storage string
	// Discard is "old", so that the oldest messages make room at a bound, or "new", so that new ones are refused, which needs
	// Options.OnePerKey.
	Discard string
	// Existing ones are not made, only looked for.
	Existing bool
}

// NewTopology makes a topology. Its error names everything that is wrong, and wraps sixfold.ErrInvalid.
func NewTopology(streams ...Stream) (*Topology, error) {
	t := &Topology{streams: append([]Stream(nil), streams...)}
	seen := make(map[string]bool)
	var errs []error
	for _, s := range streams {
		err := s.check()
		if seen[s.Topic] {
			err = errors.Join(err, errors.New("it is there twice; describe it once"))
		}
		seen[s.Topic] = true
		if err != nil {
			errs = append(errs, fmt.Errorf("nats: topology: topic %s: %w: %w", driver.Quote(s.Topic), sixfold.ErrInvalid, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, nil
}

// Streams answers what the topology describes, in its order.
func (t *Topology) Streams() []Stream { return append([]Stream(nil), t.streams...) }

func (s Stream) check() error {
	errs := []error{checkTopic(s.Topic)}
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Lanes < 0 || s.Lanes > maxLanes {
		bad("Lanes is %d; give 1 to %d, or 0 for the transport's", s.Lanes, maxLanes)
	}
	if s.Replicas < 0 || s.Replicas > 5 {
		bad("Replicas is %d; give 1 to 5, or 0 for the transport's", s.Replicas)
	}
	if s.Dedup != 0 && s.Dedup < 100*time.Millisecond {
		bad("Dedup is %v; give at least 100ms, or 0 for the transport's", s.Dedup)
	}
	if s.Storage != "" && s.Storage != "file" && s.Storage != "memory" {
		bad("Storage is %s; give file or memory", driver.Quote(s.Storage))
	}
	if s.Discard != "" && s.Discard != "old" && s.Discard != "new" {
		bad("Discard is %s; give old or new", driver.Quote(s.Discard))
	}
	return errors.Join(errs...)
}

// apply puts what s says into c.
func (s Stream) apply(c *jetstream.StreamConfig) {
	if s.Lanes > 0 {
		c.Metadata[metaLanes] = strconv.Itoa(s.Lanes)
	}
	if s.Replicas > 0 {
		c.Replicas = s.Replicas
	}
	if s.Dedup > 0 {
		c.Duplicates = s.Dedup
	}
	if s.MaxAge != 0 {
		c.MaxAge = max(s.MaxAge, 0)
	}
	if s.MaxBytes != 0 {
		c.MaxBytes = max(s.MaxBytes, -1)
	}
	if s.MaxMessages != 0 {
		c.MaxMsgs = max(s.MaxMessages, -1)
	}
	if s.Storage == "memory" {
		c.Storage = jetstream.MemoryStorage
	}
	if s.Discard == "new" {
		c.Discard = jetstream.DiscardNew
	}
}

// differences says in what a stream that is there is another one.
func (s Stream) differences(c jetstream.StreamConfig) string {
	var all []string
	differ := func(what string, want, is any) {
		if want != is {
			all = append(all, fmt.Sprintf("%s should be %v and is %v", what, want, is))
		}
	}
	if s.Lanes > 0 {
		lanes := c.Metadata[metaLanes]
		if lanes == "" {
			lanes = "1"
		}
		differ("lanes", strconv.Itoa(s.Lanes), lanes)
	}
	if s.Replicas > 0 {
		differ("replicas", s.Replicas, c.Replicas)
	}
	if s.Dedup > 0 {
		differ("dedup", s.Dedup, c.Duplicates)
	}
	if s.MaxAge != 0 {
		differ("max age", max(s.MaxAge, 0), c.MaxAge)
	}
	if s.MaxBytes != 0 {
		differ("max bytes", max(s.MaxBytes, -1), c.MaxBytes)
	}
	if s.MaxMessages != 0 {
		differ("max messages", max(s.MaxMessages, -1), c.MaxMsgs)
	}
	if s.Storage != "" {
		differ("storage", s.Storage, strings.ToLower(c.Storage.String()))
	}
	if s.Discard != "" {
		is := "old"
		if c.Discard == jetstream.DiscardNew {
			is = "new"
		}
		differ("discard", s.Discard, is)
	}
	return strings.Join(all, ", ")
}

// DeclareTopology makes the streams that are not there, each with that of its dead letters, and leaves those that are as they
// are; CheckTopology says in what they differ. With Options.Require it only looks for them. Errors wrap those of package bus and
// name every topic that failed.
func (t *Transport) DeclareTopology(ctx context.Context, topology *Topology) error {
	var errs []error
	for _, s := range topology.streams {
		if err := t.declareStream(ctx, s); err != nil {
			errs = append(errs, fmt.Errorf("nats: declare %s: %w", driver.Quote(s.Topic), err))
		}
	}
	return errors.Join(errs...)
}

func (t *Transport) declareStream(ctx context.Context, s Stream) error {
	if s.Existing {
		_, err := t.route(ctx, s.Topic)
		return err
	}
	if s.Discard == "new" && !t.o.OnePerKey {
		return fmt.Errorf("%w: Discard is new, so that the stream can refuse a message and take the next one; set Options.OnePerKey too", bus.ErrRefused)
	}
	if s.Replicas > 1 && !t.o.OnePerKey {
		return fmt.Errorf("%w: Replicas is %d, so that the stream can refuse a message and take the next one; set Options.OnePerKey too", bus.ErrRefused, s.Replicas)
	}
	return t.declareWith(ctx, s.Topic, s.apply)
}

// CheckTopology says of every stream what the server has, and makes nothing.
func (t *Transport) CheckTopology(ctx context.Context, topology *Topology) ([]bus.Part, error) {
	var parts []bus.Part
	for _, s := range topology.streams {
		part := bus.Part{Name: "stream of " + s.Topic, State: bus.There}
		c, err := t.configOf(ctx, s.Topic)
		switch {
		case errors.Is(err, bus.ErrUnroutable):
			part.State = bus.Missing
		case err != nil:
			return nil, fmt.Errorf("nats: check %s: %w", driver.Quote(s.Topic), err)
		default:
			if part.Text = s.differences(c); part.Text != "" {
				part.State = bus.Differs
			}
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// configOf is the configuration of a topic's stream as the server has it now.
func (t *Transport) configOf(ctx context.Context, topic string) (jetstream.StreamConfig, error) {
	t.routes.Forget(topic)
	r, err := t.route(ctx, topic)
	if err != nil {
		return jetstream.StreamConfig{}, err
	}
	nc, err := t.controlConn(ctx)
	if err != nil {
		return jetstream.StreamConfig{}, err
	}
	js, err := t.jetStream(nc)
	if err != nil {
		return jetstream.StreamConfig{}, err
	}
	asked, cancel := asking(ctx)
	defer cancel()
	s, err := js.Stream(asked, r.stream)
	if err != nil {
		return jetstream.StreamConfig{}, ended(ctx, err)
	}
	return s.CachedInfo().Config, nil
}
