package rabbitmq

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"strconv"
	"strings"
)

// oneWay is a connection of which only Read is used.
type oneWay struct {
	net.Conn
	r     io.Reader
	reads int
}

func (c *oneWay) Read(p []byte) (int, error) {
	c.reads++
	return c.r.Read(p)
}

func TestASocketReadsAhead(t *testing.T) {
	all := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, 30_000)
	over := errors.New("reset")
	conn := &oneWay{r: io.MultiReader(bytes.NewReader(all), iotest.ErrReader(over))}
	s := newSocket(conn)
	var got []byte
	for p := make([]byte, 999); ; {
		n, err := s.Read(p)
		got = append(got, p[:n]...)
		if err != nil {
			if !errors.Is(err, over) || !errors.Is(s.err, over) {
				t.Errorf("the end: %v, remembered %v", err, s.err)
			}
			break
		}
	}
	if !bytes.Equal(got, all) || !bytes.Equal(s.first, all[:2]) {
		t.Errorf("%d bytes of %d came, first %v", len(got), len(all), s.first)
	}
	if most := len(all)/readAhead + 3; conn.reads > most {
		t.Errorf("%d reads, at most %d are needed", conn.reads, most)
	}
}

// resetConn is a connection that the other side refused and reset: why can be read for a while, writing fails at once.
type resetConn struct{ net.Conn }

func (resetConn) Read([]byte) (int, error) {
	time.Sleep(10 * time.Millisecond) // of the bubble's clock
	return 0, &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}
}

func (resetConn) Write([]byte) (int, error) { return 0, errors.New("connection reset by peer") }

func TestASocketHearsWhyItWasRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSocket(resetConn{})
		go s.Read(make([]byte, 100))
		_, err := s.Write([]byte("AMQP"))
		if err = s.why(err); !errors.Is(err, bus.ErrRefused) {
			t.Errorf("refused by the listener: %v", err)
		}
	})
}

// A counted connection counts writes, and fails them when it is told to.
type counted struct {
	net.Conn
	writes [][]byte
	fails  bool
	closed bool
}

func (c *counted) SetWriteDeadline(time.Time) error { return nil }
func (c *counted) Close() error                     { c.closed = true; return nil }
func (c *counted) Write(p []byte) (int, error) {
	if c.fails || c.closed {
		return 0, net.ErrClosed
	}
	c.writes = append(c.writes, bytes.Clone(p))
	return len(p), nil
}

// What is kept goes out in one write and before what comes after it; what there is no room for pushes it out.
func TestSocketHolds(t *testing.T) {
	c := new(counted)
	s := newSocket(c)
	s.first = []byte{1, 0} // something was heard
	s.bound(time.Second)
	write := func(text string) {
		t.Helper()
		if n, err := s.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
	}
	s.hold()
	write("a")
	write("b")
	if len(c.writes) != 0 {
		t.Errorf("%q went out", c.writes)
	}
	s.release()
	write("c")
	s.hold()
	write("d")
	write(strings.Repeat("e", 64<<10))
	s.release()
	var got []string
	for _, w := range c.writes {
		got = append(got, string(w[:1])+strconv.Itoa(len(w)))
	}
	if strings.Join(got, " ") != "a2 c1 d1 e65536" {
		t.Errorf("it wrote %q", got)
	}
}

// After a write that failed a part may have gone out: nothing follows it.
func TestSocketEndsWithAWrite(t *testing.T) {
	c := &counted{fails: true}
	s := newSocket(c)
	s.first = []byte{1, 0}
	s.bound(time.Second)
	s.hold()
	if _, err := s.Write([]byte("a")); err != nil {
		t.Fatal(err)
	}
	s.release()
	c.fails = false
	if _, err := s.Write([]byte("b")); err == nil || !c.closed || len(c.writes) != 0 {
		t.Errorf("%v, closed %v, wrote %q", err, c.closed, c.writes)
	}
}
