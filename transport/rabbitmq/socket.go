package rabbitmq

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// readAhead is how much of a connection is read at once: the client asks for 4 KiB, which is a system call for every five messages.
const readAhead = 64 << 10

// A socket reads ahead, and remembers how a connection began and ended, of which the client keeps the text only.
type socket struct {
	net.Conn
	ahead []byte // only its reader's own: read, and not handed on
	buf   []byte // of ahead

	limit atomic.Int64 // of bound, in nanoseconds; 0: writes go straight to the connection

	writing sync.Mutex // guards what follows
	holding bool       // writes are kept
	held    []byte

	mu    sync.Mutex
	first []byte        // what the other side said first
	err   error         // of the first Read that failed
	ended chan struct{} // closed with it
}

func newSocket(c net.Conn) *socket { return &socket{Conn: c, ended: make(chan struct{})} }

// Read implements net.Conn, for one goroutine.
func (s *socket) Read(p []byte) (int, error) {
	if len(s.ahead) == 0 {
		if s.buf == nil {
			s.buf = make([]byte, readAhead)
		}
		n, err := s.fill(s.buf)
		if n == 0 {
			return 0, err
		}
		s.ahead = s.buf[:n] // an error comes again with the next Read
	}
	n := copy(p, s.ahead)
	s.ahead = s.ahead[n:]
	return n, nil
}

// fill reads from the connection.
func (s *socket) fill(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if len(s.first) < 2 || err != nil { // only this goroutine writes it
		s.mu.Lock()
		if len(s.first) < 2 {
			s.first = append(s.first, p[:min(n, 2)]...)
		}
		if s.err == nil && err != nil {
			s.err = err
			close(s.ended)
		}
		s.mu.Unlock()
	}
	return n, err
}

// bound has writes stand still for limit at the most, after which the connection is closed, and lets hold work. It is called before others write.
func (s *socket) bound(limit time.Duration) { s.limit.Store(int64(limit)) }

// Write implements net.Conn.
func (s *socket) Write(p []byte) (int, error) {
	limit := time.Duration(s.limit.Load())
	if limit == 0 {
		return s.write(p)
	}
	const most = 64 << 10
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.holding && len(s.held)+len(p) <= most {
		s.held = append(s.held, p...)
		return len(p), nil
	}
	if err := s.let(limit); err != nil {
		return 0, err
	}
	return s.within(limit, p)
}

// hold keeps what is written until release, as far as there is room for it.
func (s *socket) hold() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.holding = true
}

// release writes what was kept, at once.
func (s *socket) release() {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.holding = false
	_ = s.let(time.Duration(s.limit.Load())) // which closes the connection if it fails
}

// let writes what was kept. writing is held.
func (s *socket) let(limit time.Duration) error {
	if len(s.held) == 0 {
		return nil
	}
	_, err := s.within(limit, s.held)
	s.held = s.held[:0]
	return err
}

// within writes for limit at the most. Where that fails nobody may write after it, since a part may have gone out.
func (s *socket) within(limit time.Duration, p []byte) (int, error) {
	err := s.SetWriteDeadline(time.Now().Add(limit))
	n := 0
	if err == nil {
		n, err = s.write(p)
	}
	if err != nil {
		s.Conn.Close()
	}
	return n, err
}

// write writes to the connection. Who refuses us says why before the connection is reset: where nothing was heard yet, a failure
// waits a moment until that is read, since the client closes the connection at once.
func (s *socket) write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	if err != nil {
		s.mu.Lock()
		silent := len(s.first) == 0
		s.mu.Unlock()
		if silent {
			t := time.NewTimer(time.Second)
			defer t.Stop()
			select {
			case <-s.ended:
			case <-t.C:
			}
		}
	}
	return n, err
}

// errSilent is a connection that was closed before the other side had said anything.
var errSilent = errors.New("the listener closed the connection without a word")

// why explains the failure of a handshake by what was read.
func (s *socket) why(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case insecure(s.err):
		return fmt.Errorf("%w: %w; check the certificates", bus.ErrRefused, s.err)
	case len(s.first) == 0 && s.err != nil:
		return fmt.Errorf("%w: %w", errSilent, err)
	case len(s.first) == 2 && s.first[0] == 0x15 && s.first[1] == 3: // a TLS alert
		return fmt.Errorf("%w: the listener wants TLS; use amqps:// and its port, 5671 by default (%w)", bus.ErrRefused, err)
	case len(s.first) > 0 && s.first[0] != 1: // not a method
		return fmt.Errorf("%w: what listens there does not speak AMQP 0-9-1; check the port, 5672 by default (%w)", bus.ErrRefused, err)
	}
	return err
}
