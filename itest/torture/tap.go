package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// A tap stands between the relay and the broker. It writes down what the broker has taken, before the relay hears of it,
// and is as slow as a broker with a network in between, so that a kill finds messages in flight.
type tap struct {
	bus.Transport
	p     *process
	f     *os.File
	doubt atomic.Int64 // messages that the broker has taken, and the relay does not know it
}

// inDoubt is how much the broker has taken at least, and the relay has not heard of, when a process kills itself for that.
const inDoubt = 10

// roundTrip bounds the time that the tap adds to a confirm. Sends follow each other meanwhile.
const roundTrip = 100 * time.Millisecond

func newTap(t bus.Transport, p *process) (*tap, error) {
	f, err := os.OpenFile(p.path("tap"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("torture: open the tap: %w", err)
	}
	return &tap{Transport: t, p: p, f: f}, nil
}

// Open implements bus.Transport.
func (t *tap) Open(ctx context.Context) (bus.Sender, error) {
	s, err := t.Transport.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &tapSender{s, t, make(chan struct{})}, nil
}

type tapSender struct {
	bus.Sender
	tap    *tap
	closed chan struct{}
}

// Send implements bus.Sender.
func (s *tapSender) Send(ctx context.Context, batch []bus.Outgoing) bus.Pending {
	most := s.tap.p.Options.Send
	time.Sleep(most/2 + rand.N(most/2)) // a connection that is full; not ctx's to end
	p := &tapPending{Pending: s.Sender.Send(ctx, batch), tap: s.tap, known: make(chan struct{}), due: time.Now().Add(roundTrip/2 + rand.N(roundTrip/2))}
	batch = append([]bus.Outgoing(nil), batch...)
	go func() {
		defer close(p.known)
		p.taken = s.tap.taken(batch, p.ask(ctx))
	}()
	return p
}

// tapPending answers when the tap has written down what was taken, and the network has taken its time.
type tapPending struct {
	bus.Pending
	tap   *tap
	once  sync.Once
	errs  []error
	known chan struct{}
	due   time.Time
	taken int // of the batch, until the relay has heard of it; under known
	heard sync.Once
}

// ask waits for the broker, once.
func (p *tapPending) ask(ctx context.Context) []error {
	p.once.Do(func() { p.errs = p.Pending.Wait(ctx) })
	return p.errs
}

// Wait implements bus.Pending.
func (p *tapPending) Wait(ctx context.Context) []error {
	<-p.known
	wait(ctx, time.Until(p.due))
	p.heard.Do(func() { p.tap.doubt.Add(-int64(p.taken)) })
	return p.ask(ctx)
}

// taken writes a line for each message that the broker has taken: when, id, topic. It answers how many.
func (t *tap) taken(batch []bus.Outgoing, errs []error) (n int) {
	var b bytes.Buffer
	now := time.Now().UnixNano()
	for i, o := range batch {
		if i < len(errs) && errs[i] == nil {
			fmt.Fprintf(&b, "%d %s %s\n", now, o.ID, o.Topic)
			n++
		}
	}
	if _, err := t.f.Write(b.Bytes()); err != nil {
		fmt.Fprintln(os.Stderr, "torture: write the tap:", err)
		os.Exit(1)
	}
	if t.doubt.Add(int64(n)) >= inDoubt && t.p.killSending.CompareAndSwap(true, false) {
		killSelf()
	}
	return n
}

// readLines calls fn for each line of three fields, the first a time.
func readLines(path string, fn func(at int64, a, b string)) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("torture: read a journal: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("torture: read journal %s: %w", path, err)
		}
		var at int64
		var a, b string
		if _, err := fmt.Sscan(line, &at, &a, &b); err != nil {
			return fmt.Errorf("torture: read journal %s: %w", path, err)
		}
		fn(at, a, b)
	}
}
