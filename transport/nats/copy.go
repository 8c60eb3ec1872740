package nats

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// copyLinger is how long the server keeps the consumer of a copy that has gone.
const copyLinger = time.Minute

// openCopy makes the consumer of a copy: what is in the stream from now on, or behind the last that came on an earlier
// connection. Nothing is acknowledged, so deliveries stay ours whatever becomes of the connection.
func (ses *session) openCopy(ctx context.Context, p *part) error {
	asked, cancel := asking(ctx)
	defer cancel()
	stream, err := ses.js.Stream(asked, p.route.stream)
	if err != nil {
		return err
	}
	end := stream.CachedInfo().State.LastSeq
	f := p.copy
	if f == nil {
		f = &feed{s: ses.s, topic: p.topic, stream: p.route.stream, last: end}
		p.copy = f
	}
	ses.s.mu.Lock()
	if f.last > end { // the stream was made anew
		f.last = 0
	}
	from := f.last + 1
	f.asked, f.again, f.heard, f.quiet = 0, false, false, 0
	ses.s.mu.Unlock()
	c, err := ses.js.CreateConsumer(asked, p.route.stream, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, FilterSubject: p.route.filter,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from, InactiveThreshold: copyLinger, MemoryStorage: true, Replicas: 1,
		Description: "copy of topic " + p.topic})
	if err != nil {
		return err
	}
	ses.s.mu.Lock()
	f.consumer = c.CachedInfo().Name
	ses.s.mu.Unlock()
	ses.add(f)
	return nil
}

// dropCopies removes the consumers of copies.
func (ses *session) dropCopies(ctx context.Context) {
	asked, cancel := asking(ctx)
	defer cancel()
	for _, p := range ses.s.parts {
		if err := ses.js.DeleteConsumer(asked, p.copy.stream, p.copy.consumer); err != nil {
			ses.s.t.o.Logger.Debug("nats: the consumer of a copy could not be removed; the server does it soon", "err", err)
		}
	}
}
