package storetest

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

var writerCases = []testCase{
	{name: "RowsExistIfTheTransactionCommits", run: func(s *suite) { // guarantees: O1, O2
		s.rolledBack(func(tx sqltx.Tx) {
			_, _, err := s.Outbox.Writer().Append(s.ctx(), tx, outbox.ToBroker, rowsOf(3), false)
			s.must(err)
		})
		if got := s.read(outbox.ToBroker, ""); len(got) != 0 {
			s.Errorf("a rolled back transaction left %d rows: messages of what never happened would be sent", len(got))
		}
		s.put(outbox.ToBroker, rowsOf(3)...)
	}},
	{name: "OrderOfTheCallIsOrderOfSeq", run: func(s *suite) { // guarantees: K1
		for _, n := range []int{1, 2, 3, 8, 9, 50, 1000} {
			rows := rowsOf(n)
			after := s.last(outbox.ToBroker)
			s.put(outbox.ToBroker, rows...)
			got, err := s.Outbox.Queue(outbox.ToBroker).Read(s.ctx(), after, n, everything(""))
			s.must(err)
			if !slices.Equal(ids(got), ids(rows)) {
				s.Errorf("%d rows of one call came back in another order: messages of one key would be swapped", n)
			}
		}
	}},
	{name: "EveryByteComesBack", run: func(s *suite) { // guarantees: O5
		var rows []outbox.Row
		for _, text := range oddTexts {
			r := row(text)
			r.Topic, r.Attrs, r.Body = "t/"+text, []byte(text), []byte(text)
			rows = append(rows, r)
		}
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		for _, body := range [][]byte{nil, {}, {0}, every, bytes.Repeat(every, 1000)} {
			r := row("")
			r.Attrs, r.Body = every, body
			rows = append(rows, r)
		}
		for _, batch := range [][]outbox.Row{rows[:1], rows} {
			after := s.last(outbox.ToLocal)
			s.put(outbox.ToLocal, batch...)
			got, err := s.Outbox.Queue(outbox.ToLocal).Read(s.ctx(), after, len(batch), everything(""))
			s.must(err)
			for i := range got {
				s.same(got[i], batch[i])
			}
		}
		for i := range rows { // one at a time goes another way
			after := s.last(outbox.ToBroker)
			s.put(outbox.ToBroker, rows[i])
			got, err := s.Outbox.Queue(outbox.ToBroker).Read(s.ctx(), after, 1, everything(""))
			s.must(err)
			s.same(got[0], rows[i])
		}
	}},
	{name: "NoRowsIsNothing", run: func(s *suite) {
		s.tx(func(tx sqltx.Tx) error {
			refused, _, err := s.Outbox.Writer().Append(s.ctx(), tx, outbox.ToBroker, nil, false)
			if len(refused) != 0 {
				s.Errorf("no rows, and %v refused", refused)
			}
			return err
		})
	}},
	{name: "SavepointTakesRowsAlong", run: func(s *suite) { // guarantees: O1
		s.tx(func(tx sqltx.Tx) error {
			err := tx.Savepoint(s.ctx(), func(tx sqltx.Tx) error {
				_, _, err := s.Outbox.Writer().Append(s.ctx(), tx, outbox.ToBroker, rowsOf(1), false)
				s.must(err)
				return errRollBack
			})
			if err == nil {
				s.Error("the savepoint did not fail")
			}
			_, _, err = s.Outbox.Writer().Append(s.ctx(), tx, outbox.ToBroker, rowsOf(2), false)
			return err
		})
		if got := s.read(outbox.ToBroker, ""); len(got) != 2 {
			s.Errorf("2 rows were written beside a rolled back savepoint, %d are there", len(got))
		}
	}},
	{name: "MoreThanOneStatementHolds", run: func(s *suite) { // guarantees: O6
		rows := rowsOf(5)
		for i := range rows {
			rows[i].Body = bytes.Repeat([]byte{byte(i)}, 5<<20)
		}
		s.put(outbox.ToBroker, rows...)
		for i, r := range s.read(outbox.ToBroker, "") {
			if !bytes.Equal(r.Body, rows[i].Body) {
				s.Errorf("row %d of 25 MB came back with another body", i)
			}
		}
	}},
	{name: "PreparedIsAppended", run: func(s *suite) {
		for _, n := range []int{1, 3, 40} {
			rows := rowsOf(n)
			after := s.last(outbox.ToBroker)
			st, err := s.Outbox.Writer().Prepare(outbox.ToBroker, rows)
			s.must(err)
			s.tx(func(tx sqltx.Tx) error { return tx.Do(s.ctx(), st) })
			got, err := s.Outbox.Queue(outbox.ToBroker).Read(s.ctx(), after, n+1, everything(""))
			s.must(err)
			if !slices.Equal(ids(got), ids(rows)) {
				s.Errorf("a prepared statement of %d rows wrote %d others", n, len(got))
			}
		}
	}},
	{name: "ClaimsCannotBePrepared", run: func(s *suite) {
		r := row("k")
		r.Claim = "c"
		if _, err := s.Outbox.Writer().Prepare(outbox.ToBroker, []outbox.Row{row("k"), r}); err == nil {
			s.Error("a row with a claim was prepared: nobody would read that it was refused, and a duplicate would look published")
		}
	}},
	{name: "OutcomeOfACommit", run: func(s *suite) { // guarantees: O3
		s.outcome(nil, outbox.Committed)
		s.outcome(errRollBack, outbox.RolledBack)
	}},
	{name: "OutcomeWaitsWhileInProgress", twoWriters: true, run: func(s *suite) { // guarantees: O3
		o := s.begin()
		_, xact, err := s.Outbox.Writer().Append(s.ctx(), o.tx, outbox.ToBroker, rowsOf(1), true)
		s.must(err)
		if xact == "" {
			s.Skip("the store has no identification of a transaction")
		}
		ctx, cancel := context.WithTimeout(s.ctx(), 50*time.Millisecond)
		defer cancel()
		if got, err := s.Outbox.Writer().Outcome(ctx, xact); err == nil || got != outbox.Unknown {
			s.Errorf("an open transaction answered %v, %v: it would be reported as what it is not", got, err)
		}
		o.commit()
		if got, err := s.Outbox.Writer().Outcome(s.ctx(), xact); err != nil || got != outbox.Committed {
			s.Errorf("a committed transaction answered %v, %v", got, err)
		}
	}},
	{name: "OnlyTheDatabaseIsDefinite", run: func(s *suite) { // guarantees: O3
		for _, err := range []error{nil, context.Canceled, context.DeadlineExceeded, errRollBack} {
			if s.Outbox.Writer().Definite(err) {
				s.Errorf("Definite(%v): it is not the database's word, so a commit would be reported as rolled back", err)
			}
		}
	}},
}

// outcome writes, ends the transaction with how, and asks.
func (s *suite) outcome(how error, want outbox.Outcome) {
	s.Helper()
	for _, rows := range [][]outbox.Row{rowsOf(1), rowsOf(3), rowsOf(60), {claimed("outcome")}} {
		var xact string
		err := s.DB.InTx(s.ctx(), func(tx sqltx.Tx) (err error) {
			_, xact, err = s.Outbox.Writer().Append(s.ctx(), tx, outbox.ToBroker, rows, true)
			s.must(err)
			return how
		})
		if (err == nil) != (how == nil) {
			s.Fatal(err)
		}
		if xact == "" {
			continue // nothing to ask with
		}
		got, err := s.Outbox.Writer().Outcome(s.ctx(), xact)
		if err != nil || got != want {
			s.Errorf("outcome of %d rows: %v, %v; want %v", len(rows), got, err, want)
		}
	}
}

// oddTexts break those who quote by hand.
var oddTexts = []string{"", "NULL", "null", `"`, `\`, `\\"`, "{}", "{a,b}", ",", " ", " lead", "trail ", "'", "''", "$1", "?", "%s", "--", "/*", ";",
	"ключ", "日本", "🔑", "a\tb", "a\nb", "\x01", "\x1f", strings.Repeat("x", 255)}

func (s *suite) same(got, want outbox.Row) {
	s.Helper()
	switch {
	case got.ID != want.ID, got.Key != want.Key, got.Topic != want.Topic, got.Partition != want.Partition, got.Class != want.Class, got.Attempts != 0, got.Foreign:
		s.Errorf("a row came back changed: %q %q %q %d %d, want %q %q %q %d", got.ID, got.Key, got.Topic, got.Partition, got.Attempts, want.ID, want.Key, want.Topic, want.Partition)
	case !bytes.Equal(got.Attrs, want.Attrs):
		s.Errorf("attributes of %d bytes came back as %d others", len(want.Attrs), len(got.Attrs))
	case !bytes.Equal(got.Body, want.Body), (got.Body == nil) != (want.Body == nil):
		s.Errorf("a body of %d bytes (nil: %t) came back as %d bytes (nil: %t)", len(want.Body), want.Body == nil, len(got.Body), got.Body == nil)
	}
}
