package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/transport/memory"
	"github.com/sixfold-go/sixfold/transport/nats"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// ask is what is asked; its body has about 256 bytes on the wires, and about 30 in memory.
type ask struct {
	sixfold.Returns[answer] `json:"-"`

	N    int
	Fill string `json:",omitempty"`
}

func (ask) MessageName() string { return "bench.ask" }

// answer is what comes back.
type answer struct {
	N    int
	Fill string `json:",omitempty"`
}

// filling makes bodies of 256 bytes.
func filling() string { return strings.Repeat("x", 236) }

func answered(_ context.Context, a ask) (answer, error) { return answer{N: a.N + 1, Fill: a.Fill}, nil }

// callers starts a responder and a client on lanes of their own, and answers one call.
func (s *scope) callers(ctx context.Context, lane func() (request.Lane, error)) (func(ctx context.Context, a ask) (answer, error), error) {
	at, err := lane()
	if err != nil {
		return nil, err
	}
	responder, err := request.Serve(at, nil, request.On(answered))
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- responder.Run(running) }()
	s.atEnd(func() error { stop(); return <-done })
	select {
	case <-responder.Listening():
	case err := <-done:
		done <- nil
		return nil, fmt.Errorf("the responder ended: %w", err)
	}
	if at, err = lane(); err != nil {
		return nil, err
	}
	client, err := request.NewClient(at, nil)
	if err != nil {
		return nil, err
	}
	s.atEnd(func() error { return client.Close(context.WithoutCancel(ctx)) })
	return func(ctx context.Context, a ask) (answer, error) { return request.Send(ctx, client, a) }, nil
}

// calling is an arm: calls a second of that many callers.
func (s *scope) calling(callers int, fill string, call func(ctx context.Context, a ask) (answer, error)) arm {
	return func(ctx context.Context) (float64, error) {
		return perSecond(ctx, callers, pick(s.bench, 3*time.Second, 100*time.Millisecond), func(ctx context.Context, n int) error {
			got, err := call(ctx, ask{N: n, Fill: fill})
			if err == nil && got.N != n+1 {
				err = fmt.Errorf("%d was answered %d", n, got.N)
			}
			return err
		})
	}
}

// requestMemory measures calls of 64 callers inside the process, with everything but a network.
func requestMemory(ctx context.Context, s *scope) error {
	lane, err := memory.NewRequestLane(nil)
	if err != nil {
		return err
	}
	call, err := s.callers(ctx, func() (request.Lane, error) { return lane, nil })
	if err != nil {
		return err
	}
	results, err := s.interleaved(ctx, s.calling(64, "", call))
	if err != nil {
		return err
	}
	return s.alone(line{Case: s.name, Unit: "calls/s"}, goal{valueAtLeast, 300_000, 400_000}, results[0])
}

// beside measures calls at one and 64 callers beside a hand-written loop.
func (s *scope) beside(ctx context.Context, peer string, raw, ours func(ctx context.Context, a ask) (answer, error)) error {
	fill := filling()
	for _, callers := range []int{1, 64} {
		l := line{Case: s.name + "/" + strconv.Itoa(callers), Unit: "calls/s", PeerName: peer}
		if err := s.compare(ctx, l, goal{ratioAtLeast, 0.80, 0.90}, s.calling(callers, fill, raw), s.calling(callers, fill, ours)); err != nil {
			return err
		}
	}
	return nil
}

// requestNATS stands beside the client's own Request with JSON on both sides.
func requestNATS(ctx context.Context, s *scope) error {
	server, err := s.jetStream(ctx)
	if err != nil {
		return err
	}
	var conns [2]*natsgo.Conn
	for i := range conns {
		if conns[i], err = natsgo.Connect(server.URL()); err != nil {
			return err
		}
		s.atEnd(func() error { conns[i].Close(); return nil })
	}
	_, err = conns[0].QueueSubscribe("bench.raw", "bench", func(m *natsgo.Msg) {
		var a ask
		if json.Unmarshal(m.Data, &a) != nil {
			return
		}
		got, _ := answered(ctx, a)
		if body, err := json.Marshal(got); err == nil {
			_ = m.Respond(body)
		}
	})
	if err == nil {
		err = conns[0].Flush()
	}
	if err != nil {
		return err
	}
	raw := func(ctx context.Context, a ask) (got answer, err error) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		body, err := json.Marshal(a)
		if err != nil {
			return got, err
		}
		m, err := conns[1].RequestWithContext(ctx, "bench.raw", body)
		if err != nil {
			return got, err
		}
		return got, json.Unmarshal(m.Data, &got)
	}
	ours, err := s.callers(ctx, func() (request.Lane, error) {
		t, err := nats.New(server.URL(), nil)
		if err != nil {
			return nil, err
		}
		return t.RequestLane(nil)
	})
	if err != nil {
		return err
	}
	return s.beside(ctx, "nats.Request", raw, ours)
}

// rawReplyTo is a hand-written client of direct reply-to.
type rawReplyTo struct {
	ch *amqp.Channel

	mu    sync.Mutex
	last  uint64
	waits map[string]chan []byte
}

func newRawReplyTo(conn *amqp.Connection) (*rawReplyTo, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	c := &rawReplyTo{ch: ch, waits: make(map[string]chan []byte)}
	replies, err := ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	if err != nil {
		return nil, err
	}
	go func() {
		for d := range replies {
			c.mu.Lock()
			wait := c.waits[d.CorrelationId]
			delete(c.waits, d.CorrelationId)
			c.mu.Unlock()
			if wait != nil {
				wait <- d.Body
			}
		}
	}()
	return c, nil
}

func (c *rawReplyTo) call(ctx context.Context, a ask) (got answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := json.Marshal(a)
	if err != nil {
		return got, err
	}
	wait := make(chan []byte, 1)
	c.mu.Lock()
	c.last++
	id := strconv.FormatUint(c.last, 10)
	c.waits[id] = wait
	c.mu.Unlock()
	err = c.ch.PublishWithContext(ctx, "", "bench.raw", true, false, amqp.Publishing{ContentType: "application/json", CorrelationId: id, ReplyTo: "amq.rabbitmq.reply-to", Body: body})
	if err != nil {
		return got, err
	}
	select {
	case body := <-wait:
		return got, json.Unmarshal(body, &got)
	case <-ctx.Done():
		return got, ctx.Err()
	}
}

// requestRabbitMQ stands beside a hand-written loop over direct reply-to with JSON on both sides. The node is the case's own.
func requestRabbitMQ(ctx context.Context, s *scope) error {
	node, err := servers.StartRabbitMQ(ctx, nil)
	if err != nil {
		return err
	}
	s.atEnd(node.Close)
	var conns [2]*amqp.Connection
	for i := range conns {
		if conns[i], err = amqp.Dial(node.URL()); err != nil {
			return err
		}
		s.atEnd(conns[i].Close)
	}
	ch, err := conns[0].Channel()
	if err != nil {
		return err
	}
	_, err = ch.QueueDeclare("bench.raw", false, true, false, false, nil)
	if err != nil {
		return err
	}
	asked, err := ch.Consume("bench.raw", "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	go func() {
		for d := range asked {
			var a ask
			if json.Unmarshal(d.Body, &a) != nil {
				continue
			}
			got, _ := answered(ctx, a)
			if body, err := json.Marshal(got); err == nil {
				_ = ch.PublishWithContext(ctx, "", d.ReplyTo, false, false, amqp.Publishing{ContentType: "application/json", CorrelationId: d.CorrelationId, Body: body})
			}
		}
	}()
	raw, err := newRawReplyTo(conns[1])
	if err != nil {
		return err
	}
	ours, err := s.callers(ctx, func() (request.Lane, error) {
		t, err := rabbitmq.New(node.URL(), nil)
		if err != nil {
			return nil, err
		}
		return t.RequestLane(nil)
	})
	if err != nil {
		return err
	}
	return s.beside(ctx, "direct reply-to by hand", raw.call, ours)
}
