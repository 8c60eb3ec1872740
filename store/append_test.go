package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

func TestChunks(t *testing.T) {
	rows := make([]outbox.Row, 6)
	for i, n := range []int{1, 6 << 20, 9 << 20, 20 << 20, 1, 1} {
		rows[i].Body = make([]byte, n)
	}
	got, err := chunks(rows)
	if want := [][2]int{{0, 3}, {3, 4}, {4, 6}}; err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

func TestCountUpTo(t *testing.T) {
	for _, c := range []struct {
		rs   []outbox.Range
		want int
	}{{nil, 0}, {[]outbox.Range{{From: 5, To: 5}}, 1}, {[]outbox.Range{{From: 1, To: 10}}, 10}, {[]outbox.Range{{From: 1, To: 11}}, 11}, {[]outbox.Range{{From: 1, To: 9}, {From: 20, To: 20}}, 10},
		{[]outbox.Range{{From: -1 << 63, To: 1<<63 - 1}}, 11}, {[]outbox.Range{{From: 3, To: 2}}, 0}, {[]outbox.Range{{From: 1, To: 10}, {From: 12, To: 1 << 62}}, 11}} {
		if got := countUpTo(c.rs, 10); got != c.want {
			t.Errorf("%v: %d, want %d", c.rs, got, c.want)
		}
	}
}

type pgError string

func (e pgError) Error() string    { return "server: " + string(e) }
func (e pgError) SQLState() string { return string(e) }

type liteError int

func (e liteError) Error() string { return fmt.Sprint("sqlite: ", int(e)) }
func (e liteError) Code() int     { return int(e) }

type unsent struct{ error }

func (unsent) SafeToRetry() bool { return true }

func TestDefiniteAndPassing(t *testing.T) { // guarantees: O3, I8
	pg, err := Postgres(noDB{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	lite, err := SQLite(noDB{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err               error
		definite, passing bool
	}{
		{pgError("23503"), true, false}, {pgError("40001"), true, true}, {pgError("40P01"), true, true}, {pgError("25P02"), true, false}, {pgError("P0001"), true, false},
		{pgError("57014"), true, false}, {pgError("55P03"), true, true}, {pgError("40003"), false, true}, {pgError("57P01"), false, true}, {pgError("08006"), false, true},
		{pgError("53100"), false, true}, {pgError("XX000"), false, false}, {pgError("58030"), false, false}, {pgError(""), false, false},
		{io.ErrUnexpectedEOF, false, true}, {driver.ErrBadConn, false, true}, {net.ErrClosed, false, true}, {&net.OpError{Err: errors.New("reset")}, false, true},
		{context.Canceled, false, false}, {fmt.Errorf("read: %w", context.DeadlineExceeded), false, false}, {errors.New("a handler's own"), false, false}, {unsent{io.EOF}, false, true},
	} {
		for _, err := range []error{c.err, fmt.Errorf("wrapped: %w", c.err)} {
			if d, p := pg.Outbox().Writer().Definite(err), pg.Inbox().Passing(err); d != c.definite || p != c.passing {
				t.Errorf("PostgreSQL, %v: definite %t, passing %t", err, d, p)
			}
		}
	}
	for _, c := range []struct {
		err               error
		definite, passing bool
	}{{liteError(5), true, true}, {liteError(517), true, true}, {liteError(6), true, true}, {liteError(787), true, false}, {liteError(13), true, false}, {liteError(778), false, false}, {errors.New("x"), false, false}} {
		if d, p := lite.Outbox().Writer().Definite(c.err), lite.Inbox().Passing(c.err); d != c.definite || p != c.passing {
			t.Errorf("SQLite, %v: definite %t, passing %t", c.err, d, p)
		}
	}
}

func TestServersThatAreRefused(t *testing.T) {
	if pgServer(120022, false) == nil || pgServer(150018, true) == nil || pgServer(130000, false) != nil {
		t.Error("PostgreSQL 12, a replica and PostgreSQL 13 must be refused, refused and taken")
	}
	if liteServer("3.34.1") == nil || liteServer("odd") == nil || liteServer("3.35.0") != nil || liteServer("4.0") != nil {
		t.Error("SQLite 3.34, an odd version, 3.35 and 4 must be refused, refused, taken and taken")
	}
}

// One published row costs at most ten allocations here, whatever the library adds.
func TestAllocationsOfOneRow(t *testing.T) {
	s, err := Postgres(noDB{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := s.Outbox().Writer().(*pgWriter)
	rows := []outbox.Row{{Partition: 5, ID: "018f4d3e-7d4c-7b3a-9c0a-0123456789ab", Topic: "orders", Key: "k", Attrs: []byte("a"), Body: []byte("b")}}
	var kept sqltx.Statement
	if n := testing.AllocsPerRun(100, func() { kept = w.statement(outbox.ToBroker, rows, false) }); n > 10 {
		t.Errorf("%v allocations", n)
	}
	if len(kept.Args) != appendArgs {
		t.Errorf("%d arguments", len(kept.Args))
	}
}
