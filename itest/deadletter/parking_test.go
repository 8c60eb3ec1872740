package deadletter

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// park parks messages of key k through the store, as a consumer does.
func (w *world) park(dead, loose bool, ids ...string) {
	w.t.Helper()
	must(w.t, w.run.InTx(w.t.Context(), func(tx sqltx.Tx) error {
		var items []inbox.Item
		for _, id := range ids {
			env := &sixfold.Envelope{ID: id, Source: "shop", Type: "t", Key: "k", ContentType: "application/json", Body: []byte("{}")}
			it := inbox.Item{Record: inbox.RecordOf(env), Enter: true, ID: id, Source: "shop", Type: "t", Topic: "orders", Attrs: outbox.EncodeAttrs(env, outbox.Flags{}), Body: env.Body,
				Attempts: 9, Dead: dead, Loose: loose, Node: "host/1"}
			if dead {
				it.Reason, it.Error = "attempts", "it failed"
			}
			items = append(items, it)
		}
		_, err := w.st.Inbox().Parking().Park(w.t.Context(), tx, "billing", items)
		return err
	}))
}

func (w *world) claimed() inbox.Claimed {
	w.t.Helper()
	got, err := w.st.Inbox().Parking().Claim(w.t.Context(), "billing", inbox.Ask{Token: sixfold.NewID(), Lines: 10, Rows: 50, Hold: time.Minute})
	must(w.t, err)
	return got
}

// What a consumer claims after a redrive: the whole line in order, the first attempt of the first one, and the inbox takes all. guarantees: I3, K2
func TestAConsumerClaimsWhatWasRedriven(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.park(true, true, "1", "2", "3")
		w.park(true, false, "4") // it blocks the key
		w.park(false, false, "5", "6")
		if got := w.claimed(); len(got.Lines) != 0 || got.Next >= 0 {
			t.Fatalf("claimed before: %+v", got)
		}
		// The first three alone have to wait: the key is blocked still.
		w.redrive(3, deadletter.Filter{Numbers: []int64{1, 2, 3}}, deadletter.Options{})
		if got := w.claimed(); len(got.Lines) != 0 {
			t.Fatalf("claimed although the key is blocked: %+v", got)
		}
		w.redrive(1, deadletter.Filter{}, deadletter.Options{})
		got := w.claimed()
		if len(got.Lines) != 1 {
			t.Fatalf("claimed: %+v", got)
		}
		line := got.Lines[0]
		var order []string
		var tickets []inbox.Ticket
		for _, r := range line.Rows {
			order = append(order, fmt.Sprint(r.ID, "/", r.Epoch))
			tickets = append(tickets, inbox.Ticket{N: r.N, Token: line.Token})
		}
		if want := []string{"1/1", "2/1", "3/1", "4/1", "5/0", "6/0"}; !slices.Equal(order, want) || line.Attempts != 0 || line.Suspect {
			t.Errorf("claimed %v, want %v; %d attempts, suspect %v", order, want, line.Attempts, line.Suspect)
		}
		must(t, w.run.InTx(t.Context(), func(tx sqltx.Tx) error {
			took, err := w.st.Inbox().Parking().Take(t.Context(), tx, tickets)
			if len(took) != 6 {
				t.Errorf("took %v", took)
			}
			return err
		}))
		w.want("handled", "6", "SELECT count(*) FROM {{inbox}} WHERE state = 1")
		_, err := w.st.Inbox().Parking().Tend(t.Context(), nil, time.Minute, []inbox.Return{{Hold: inbox.Hold{Line: line.ID, Token: line.Token}}})
		must(t, err)
		w.want("lines", "0", "SELECT count(*) FROM {{line}}")
		if fate, err := w.st.DeadLetters().Fate(t.Context(), deadletter.Moved{N: 1, ID: "1"}); err != nil || fate != deadletter.Handled {
			t.Errorf("fate: %v, %v", fate, err)
		}
	})
}

// One that joins a line in hand leaves whoever has it alone, and comes next.
func TestRedriveIntoALineInHand(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.park(true, true, "1")
		w.park(false, false, "2", "3")
		line := w.claimed().Lines[0]
		w.redrive(1, deadletter.Filter{}, deadletter.Options{})
		must(t, w.run.InTx(t.Context(), func(tx sqltx.Tx) error {
			took, err := w.st.Inbox().Parking().Take(t.Context(), tx, []inbox.Ticket{{N: line.Rows[0].N, Token: line.Token}})
			if len(took) != 1 {
				t.Errorf("took %v", took)
			}
			return err
		}))
		_, err := w.st.Inbox().Parking().Tend(t.Context(), nil, time.Minute, []inbox.Return{{Hold: inbox.Hold{Line: line.ID, Token: line.Token}}})
		must(t, err)
		line = w.claimed().Lines[0]
		if len(line.Rows) != 2 || line.Rows[0].ID != "1" || line.Rows[1].ID != "3" || line.Attempts != 0 {
			t.Errorf("claimed %+v", line)
		}
	})
}

// Discarding the dead one that blocks a key lets go on what had joined before it, too.
func TestDiscardOpensALineThatWasJoined(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.park(true, true, "1")
		w.park(true, false, "2")
		w.redrive(1, deadletter.Filter{Numbers: []int64{1}}, deadletter.Options{})
		_, err := w.letters.Discard(t.Context(), deadletter.Filter{}, deadletter.Options{Who: "ann"})
		must(t, err)
		if got := w.claimed(); len(got.Lines) != 1 || len(got.Lines[0].Rows) != 1 || got.Lines[0].Rows[0].ID != "1" {
			t.Errorf("claimed %+v", got)
		}
	})
}
