package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
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
func (s *scope) callers(ctx context.Context, lane func() (request.Lane, error)) (caller, error) {
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
func (s *scope) calling(callers int, fill string, call caller) arm {
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

// A caller makes one call.
type caller = func(ctx context.Context, a ask) (answer, error)

// beside measures calls at one and 64 callers beside the raw client, and beside a hand that does the same by the same protocol, if there is
// one: what is between raw and hand is the protocol's, what is between hand and ours is Sixfold's.
func (s *scope) beside(ctx context.Context, peer string, raw, hand, ours caller) error {
	fill := filling()
	for _, callers := range []int{1, 64} {
		l := line{Case: s.name + "/" + strconv.Itoa(callers), Unit: "calls/s", PeerName: peer}
		arms := []arm{s.calling(callers, fill, raw), s.calling(callers, fill, ours)}
		if hand != nil {
			arms = append(arms, s.calling(callers, fill, hand))
		}
		results, err := s.interleaved(ctx, arms...)
		if err != nil {
			return err
		}
		if err := s.against(l, goal{ratioAtLeast, 0.80, 0.90}, results[0], results[1]); err != nil {
			return err
		}
		if hand == nil {
			continue
		}
		l.Case, l.Note = l.Case+"/by-hand", "value is a minimal client and responder with the same bytes and changes of goroutine, for information"
		if err := s.against(l, goal{}, results[0], results[2]); err != nil {
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
	hand, err := newHandNATS(conns[0], conns[1])
	if err != nil {
		return err
	}
	return s.beside(ctx, "nats.Request", raw, hand.call, ours)
}

// handNATS is the least that speaks in frames: a head of the size of Sixfold's in front of each body, of which the id is read, calls by their ids, and
// a responder that takes requests in one goroutine and answers them in others. It checks nothing and knows no end.
type handNATS struct {
	nc    *natsgo.Conn
	inbox string

	mu    sync.Mutex
	waits map[string]chan []byte
}

// head makes the head of a frame, as long as those of Sixfold.
func (c *handNATS) head(kind, id string) []byte {
	const request = "SIXFOLD/1.0\r\nce-source: sixfold\r\nce-type: bench.ask\r\nce-time: 2026-01-02T03:04:05.123456789Z\r\nce-datacontenttype: application/json\r\n" +
		"ce-correlationid: 019ab8f2-0000-7000-8000-000000000002\r\nce-expirytime: 2026-01-02T03:04:05.123456789Z\r\nsixfold-protocol: request/1\r\nsixfold-timeout: 9999\r\nsixfold-request: "
	const reply = "SIXFOLD/1.0\r\nce-id: ABCDEFGHIJKLMNOPQRSTUVWXYZ-100000\r\nce-source: sixfold\r\nce-type: bench.ask.reply\r\nce-datacontenttype: application/json\r\n" +
		"sixfold-protocol: reply/1\r\nsixfold-status: ok\r\nsixfold-request: "
	text := request
	if kind == "reply" {
		text = reply
	}
	b := make([]byte, 0, len(text)+len(id)+4+300) // with room for a body
	return append(append(append(b, text...), id...), "\r\n\r\n"...)
}

// open finds the id and the body.
func (c *handNATS) open(data []byte) (id string, body []byte) {
	head, body, _ := bytes.Cut(data, []byte("\r\n\r\n"))
	return string(head[bytes.LastIndexByte(head, ' ')+1:]), body
}

func newHandNATS(responder, caller *natsgo.Conn) (*handNATS, error) {
	c := &handNATS{nc: caller, inbox: natsgo.NewInbox() + ".", waits: make(map[string]chan []byte)}
	asked := make(chan *natsgo.Msg, 256)
	for range 4 {
		go func() {
			for m := range asked {
				id, body := c.open(m.Data)
				var a ask
				if json.Unmarshal(body, &a) != nil {
					continue
				}
				got, _ := answered(context.Background(), a)
				if body, err := json.Marshal(got); err == nil {
					_ = m.Respond(append(c.head("reply", id), body...))
				}
			}
		}()
	}
	sub, err := responder.QueueSubscribe("bench.hand", "bench", func(m *natsgo.Msg) { asked <- m })
	if err != nil {
		return nil, err
	}
	sub.SetClosedHandler(func(string) { close(asked) })
	_, err = caller.Subscribe(c.inbox+"*", func(m *natsgo.Msg) {
		id, body := c.open(m.Data)
		c.mu.Lock()
		wait := c.waits[id]
		delete(c.waits, id)
		c.mu.Unlock()
		if wait != nil {
			wait <- body
		}
	})
	return c, errors.Join(err, responder.Flush(), caller.Flush())
}

func (c *handNATS) call(ctx context.Context, a ask) (got answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := json.Marshal(a)
	if err != nil {
		return got, err
	}
	id, wait := sixfold.NewID(), make(chan []byte, 1)
	c.mu.Lock()
	c.waits[id] = wait
	c.mu.Unlock()
	if err := c.nc.PublishRequest("bench.hand", c.inbox+id, append(c.head("request", id), body...)); err != nil {
		return got, err
	}
	select {
	case body := <-wait:
		return got, json.Unmarshal(body, &got)
	case <-ctx.Done():
		return got, ctx.Err()
	}
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
	return s.beside(ctx, "direct reply-to by hand", raw.call, nil, ours)
}
