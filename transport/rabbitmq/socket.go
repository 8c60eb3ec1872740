package rabbitmq

import (
	"errors"
	"fmt"
	"net"
	"sync"
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

// Write implements net.Conn. Who refuses us says why before the connection is reset: where nothing was heard yet, a failure
// waits a moment until that is read, since the client closes the connection at once.
func (s *socket) Write(p []byte) (int, error) {
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
