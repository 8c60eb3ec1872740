package main

import (
	"fmt"
	"net"
	"strings"
	"sync"
)

// link is the way to a server that itself is never hit: a listener that passes connections on, and can cut them, or lose what
// the server answers.
type link struct {
	to     string
	listen net.Listener
	all    sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	down  bool
	deaf  bool // answers are lost
}

// newLink begins to pass on what comes for a server at a URL.
func newLink(url string) (*link, error) {
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("torture: listen for what goes to the broker: %w", err)
	}
	l := &link{to: strings.TrimPrefix(url, "http://"), listen: listen, conns: map[net.Conn]struct{}{}}
	l.all.Go(l.accept)
	return l, nil
}

// URL is where the way begins.
func (l *link) URL() string { return "http://" + l.listen.Addr().String() }

func (l *link) accept() {
	for {
		c, err := l.listen.Accept()
		if err != nil {
			return // closed
		}
		l.all.Go(func() { l.pass(c) })
	}
}

// pass copies both ways until one of them ends.
func (l *link) pass(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer to.Close()
	if !l.keep(from, to) {
		return
	}
	defer l.forget(from, to)
	var both sync.WaitGroup
	both.Go(func() { l.copy(to, from, false) })
	both.Go(func() { l.copy(from, to, true) })
	both.Wait()
}

// copy ends both connections when one of them has.
func (l *link) copy(to, from net.Conn, answers bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !(answers && l.lost()) {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (l *link) lost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deaf
}

// keep remembers connections, unless everything is cut.
func (l *link) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		if !l.down {
			l.conns[c] = struct{}{}
		}
	}
	return !l.down
}

func (l *link) forget(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		delete(l.conns, c)
	}
}

// deafen loses what the server answers from now on.
func (l *link) deafen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = true
}

// cut ends all connections, and refuses others until restore.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down, l.deaf = true, false
	for c := range l.conns {
		_ = c.Close()
	}
}

func (l *link) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = false
}

func (l *link) close() {
	_ = l.listen.Close()
	l.cut()
	l.all.Wait()
}
