// Package cut ends connections to a server after a number of bytes, so that a test can have them end anywhere.
package cut

import (
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
)

// After answers the address, a URL, of a way to the server at address: by connections of which each ends when the server has said so many
// bytes. said answers the most that it has said on one of them until now. The way ends with the test.
func After(tb testing.TB, address string, bytes int64) (way string, said func() int64) {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	server := u.Host
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var all sync.WaitGroup
	tb.Cleanup(func() { ln.Close(); all.Wait() })
	most := &atomic.Int64{}
	all.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp4", server)
			if err != nil {
				client.Close()
				continue
			}
			all.Go(func() {
				_, _ = io.Copy(server, client)
				server.Close()
			})
			all.Go(func() {
				_, _ = io.Copy(&counted{client, most, 0}, io.LimitReader(server, bytes))
				client.Close()
				server.Close()
			})
		}
	})
	u.Host = ln.Addr().String()
	return u.String(), most.Load
}

// Anywhere calls ask with ways that are cut ever later, about so many times, after it has called it with one that is not cut, and so
// shows how far ask goes. ask has to succeed on that one. For each other, errors of ask go to judge.
func Anywhere(t *testing.T, address string, times int64, ask func(way string) error, judge func(error) bool) {
	t.Helper()
	way, said := After(t, address, 1<<30)
	if err := ask(way); err != nil {
		t.Fatal(err)
	}
	longest, cuts := said(), 0
	for after := int64(8); after < longest; after += max(longest/times, 1) {
		way, _ := After(t, address, after)
		err := ask(way)
		if err != nil {
			cuts++
		}
		if err != nil && !judge(err) {
			t.Errorf("cut after %d of %d bytes: %v", after, longest, err)
		}
	}
	if int64(cuts) < times/8 {
		t.Errorf("only %d cuts were noticed", cuts)
	}
}

// counted notes the most that was written to one of those that share it.
type counted struct {
	io.Writer
	most *atomic.Int64
	n    int64
}

func (c *counted) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	for old := c.most.Load(); c.n > old && !c.most.CompareAndSwap(old, c.n); old = c.most.Load() {
	}
	return c.Writer.Write(b)
}
