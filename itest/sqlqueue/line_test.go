package sqlqueue

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// line is a process's way to its database. It can be cut, and hold back what the database says to sends.
type line struct {
	sqltx.Runner
	lost error // what a lost connection looks like

	mu   sync.Mutex
	cut  chan struct{} // closed while the line is cut
	hold chan struct{} // not nil: answers to sends wait until it is closed
	asks int           // of the database
	open int           // of them without an answer yet
}

func newLine(db sqltx.Runner, lost error) *line {
	return &line{Runner: db, lost: lost, cut: make(chan struct{})}
}

// errCut is what a lost connection looks like.
var errCut = fmt.Errorf("the line is cut: %w", net.ErrClosed)

// errLocked is what the outage of a file looks like: somebody else has the lock, and keeps it.
type errLocked struct{}

func (errLocked) Error() string { return "database is locked (5) (SQLITE_BUSY)" }
func (errLocked) Code() int     { return 5 }

func (l *line) cutNow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.cut:
	default:
		close(l.cut)
	}
}

func (l *line) restore() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.cut:
		l.cut = make(chan struct{})
	default:
	}
}

// holdSends withholds confirms until release.
func (l *line) holdSends() (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(chan struct{})
	l.hold = c
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.hold == c {
			close(c)
			l.hold = nil
		}
	}
}

// asked is how often the database was asked.
func (l *line) asked() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asks
}

// busy reports whether something is being asked.
func (l *line) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open > 0
}

// do asks the database. What it answers is lost when the line is cut meanwhile.
func (l *line) do(ctx context.Context, ask func(context.Context) error) error {
	l.mu.Lock()
	l.asks++
	l.open++
	cut := l.cut
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.open--
	}()
	select {
	case <-cut:
		return l.lost
	default:
	}
	err := ask(ctx)
	select {
	case <-cut:
		return l.lost
	default:
		return err
	}
}

func (l *line) InTx(ctx context.Context, fn func(sqltx.Tx) error) error {
	return l.do(ctx, func(ctx context.Context) error { return l.Runner.InTx(ctx, fn) })
}

func (l *line) ExecSQL(ctx context.Context, q string, args ...any) (n int64, err error) {
	err = l.do(ctx, func(ctx context.Context) (err error) {
		n, err = l.Runner.ExecSQL(ctx, q, args...)
		return err
	})
	return n, err
}

func (l *line) EachRow(ctx context.Context, q string, args []any, scan func(sqltx.Rows) error) error {
	return l.do(ctx, func(ctx context.Context) error { return l.Runner.EachRow(ctx, q, args, scan) })
}

// holding is a broker whose answers to sends can be withheld.
type holding struct {
	*store.Broker
	line *line
}

// Send implements sqlqueue.Store. What the database answers is lost when the line is cut meanwhile.
func (h holding) Send(ctx context.Context, rows []outbox.Row) (missing []string, err error) {
	h.line.mu.Lock()
	cut, hold := h.line.cut, h.line.hold
	h.line.mu.Unlock()
	missing, err = h.Broker.Send(ctx, rows)
	if hold == nil {
		return missing, err
	}
	select {
	case <-hold:
		return missing, err
	case <-cut:
		return nil, h.line.lost
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
