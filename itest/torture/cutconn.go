package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"sync/atomic"
	"time"
)

// cut says when a connection is cut, and whether the server still gets what was written last.
type cut int32

const (
	cutNever   cut = iota
	cutCommit      // when "commit" is sent as a statement of its own, or executed as one that is prepared
	cutExecute     // when statements are executed in a batch, whose last is COMMIT
	cutQuery       // as cutCommit, in the protocol of MariaDB
)

// cuttable is a connection that can be cut just when COMMIT is sent, so that its outcome is unknown: with the COMMIT
// delivered, or with the COMMIT swallowed.
type cuttable struct {
	net.Conn
	when    atomic.Int32
	swallow atomic.Bool
	done    atomic.Bool
	commit  string // the name under which COMMIT is prepared; who writes to the connection has it
}

func dialCuttable(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 5 * time.Second}
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &cuttable{Conn: conn}, nil
}

// arm makes the next write that fits when the connection's last.
func (c *cuttable) arm(when cut, swallow bool) {
	c.swallow.Store(swallow)
	c.when.Store(int32(when))
}

// Write implements net.Conn.
func (c *cuttable) Write(b []byte) (int, error) {
	if !c.commits(b, cut(c.when.Load())) {
		return c.Conn.Write(b)
	}
	c.done.Store(true)
	if !c.swallow.Load() {
		if n, err := c.Conn.Write(b); err != nil {
			return n, err
		}
	}
	_ = c.Conn.Close() // what comes next fails, which is the point
	return len(b), nil
}

// commits looks through the messages of b (PostgreSQL's protocol 3.0: a type, then a length that counts itself). Where postgres.DB
// has used a connection, COMMIT is prepared, and pgx executes what is prepared under that text also for who commits by pgx alone.
func (c *cuttable) commits(b []byte, when cut) bool {
	if when == cutQuery { // a length of three bytes, a number, then the command, which is 3, and its text
		return len(b) > 5 && b[4] == 3 && bytes.EqualFold(b[5:], []byte("commit"))
	}
	for len(b) >= 5 {
		kind, n := b[0], int(binary.BigEndian.Uint32(b[1:5]))+1
		if n < 5 || n > len(b) {
			return false
		}
		first, rest, _ := bytes.Cut(b[5:n], []byte{0})
		second, _, _ := bytes.Cut(rest, []byte{0})
		switch {
		case kind == 'P' && bytes.EqualFold(second, []byte("commit")): // Parse: a name, and the text
			c.commit = string(first)
		case when == cutCommit && kind == 'Q' && bytes.EqualFold(first, []byte("commit")),
			when == cutCommit && kind == 'B' && c.commit != "" && string(second) == c.commit, // Bind: a portal, and the name
			when == cutExecute && kind == 'E':
			return true
		}
		b = b[n:]
	}
	return false
}
