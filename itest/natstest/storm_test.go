package natstest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/requesttest"
)

// guarantees: Q1, Q2, Q3, Q6
func TestRequestStorm(t *testing.T) {
	f := newFixture(t, nil)
	calls := 20_000
	if os.Getenv("SIXFOLD_TORTURE") == "whole" {
		calls = 100_000
	}
	requesttest.Storm(t, requesttest.StormConfig{Calls: calls, Callers: 1000, Pace: 4, Slack: time.Minute}, func(tb testing.TB) request.Lane {
		return f.requestLane(tb, f.url)
	})
}

func (f *fixture) requestLane(tb testing.TB, url string) request.Lane {
	tb.Helper()
	lane, err := f.connect(tb, url, nil).RequestLane(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return lane
}

// What is dropped and doubled here are the messages on the wire, requests and replies, cancellations and the server's word that nobody
// listens: the lane's own code and the client's see what a network could do to them.
//
// guarantees: Q1, Q2, Q3, Q6
func TestRequestStormOnTheWire(t *testing.T) {
	f := newFixture(t, nil)
	var all []*gale
	requesttest.Storm(t, requesttest.StormConfig{Calls: 20_000, Callers: 1000, Pace: 4, Slack: time.Minute, Outside: true}, func(tb testing.TB) request.Lane {
		g := newGale(tb, f.url)
		all = append(all, g)
		return f.requestLane(tb, g.url())
	})
	for _, g := range all {
		passed, dropped, doubled := g.passed.Load(), g.dropped.Load(), g.doubled.Load()
		t.Logf("%d messages passed a proxy, %d were dropped, %d doubled", passed, dropped, doubled)
		if dropped < passed/50 || doubled < passed/50 {
			t.Error("the proxy was too gentle to show anything")
		}
	}
}

// A gale is a proxy that drops one message in twenty of those that a server says, and doubles as many.
type gale struct {
	listener                 net.Listener
	backend                  string
	passed, dropped, doubled atomic.Int64
}

// newGale starts one. It ends with the test, behind all connections.
func newGale(tb testing.TB, url string) *gale {
	tb.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	g := &gale{listener: ln, backend: strings.TrimPrefix(url, "nats://")}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if err := g.pass(client); err != nil {
					tb.Error("proxy:", err)
				}
			})
		}
	})
	tb.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	return g
}

func (g *gale) url() string { return "nats://" + g.listener.Addr().String() }

// pass passes one connection on until either side ends it.
func (g *gale) pass(client net.Conn) error {
	defer client.Close()
	server, err := net.Dial("tcp4", g.backend)
	if err != nil {
		return err
	}
	up := make(chan struct{})
	go func() {
		defer close(up)
		_, _ = io.Copy(server, client)
		server.Close() // so that down ends too
	}()
	err = g.down(client, server)
	client.Close()
	server.Close()
	<-up
	return err
}

// down copies what the server says, frame by frame. The error is one of the protocol, not of a connection that ends.
func (g *gale) down(client io.Writer, server io.Reader) error {
	in, out := bufio.NewReaderSize(server, 64<<10), bufio.NewWriterSize(client, 64<<10)
	for {
		if in.Buffered() == 0 && out.Flush() != nil {
			return nil
		}
		frame, err := in.ReadBytes('\n')
		if err != nil {
			return nil
		}
		copies := 1
		if bytes.HasPrefix(frame, []byte("MSG ")) || bytes.HasPrefix(frame, []byte("HMSG ")) {
			words := bytes.Fields(frame)
			size, err := strconv.Atoi(string(words[len(words)-1])) // of headers and body, without the end of the line
			if err != nil {
				return errors.New("a message without a size")
			}
			rest := make([]byte, size+2)
			if _, err := io.ReadFull(in, rest); err != nil {
				return nil
			}
			frame = append(frame, rest...)
			g.passed.Add(1)
			switch rand.IntN(20) {
			case 0:
				copies = 0
				g.dropped.Add(1)
			case 1:
				copies = 2
				g.doubled.Add(1)
			}
		}
		for range copies {
			if _, err := out.Write(frame); err != nil {
				return nil
			}
		}
	}
}
