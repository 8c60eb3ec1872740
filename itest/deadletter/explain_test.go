package deadletter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/explain"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// says wants parts of what is explained.
func (w *world) says(id string, o *explain.Options, parts ...string) *explain.Report {
	w.t.Helper()
	r, err := explain.Message(w.t.Context(), w.st.Explain(), id, o)
	must(w.t, err)
	text := r.String()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			w.t.Errorf("%q is not in: %s", part, text)
		}
	}
	if b, err := json.Marshal(r); err != nil || !json.Valid(b) || strings.ContainsRune(text, '\x1b') {
		w.t.Errorf("JSON %s, %v; text %s", b, err, text)
	}
	return r
}

// row appends a row.
func (w *world) row(tx sqltx.Tx, t outbox.Table, class, key string) (id string) {
	w.t.Helper()
	id = sixfold.NewID()
	env := &sixfold.Envelope{ID: id, Source: "shop", Type: "orders.placed", ContentType: "application/json"}
	_, _, err := w.st.Outbox().Writer().Append(w.t.Context(), tx, t, []outbox.Row{{Partition: outbox.PartitionOf(key), ID: id, Class: class, Topic: "orders", Key: key, Attrs: outbox.EncodeAttrs(env, outbox.Flags{})}}, false)
	must(w.t, err)
	return id
}

func TestExplainPending(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		var first, second, local string
		must(t, w.run.InTx(t.Context(), func(tx sqltx.Tx) error {
			first, second, local = w.row(tx, outbox.ToBroker, "", "k"), w.row(tx, outbox.ToBroker, "", "k"), w.row(tx, outbox.ToLocal, "billing", "")
			return nil
		}))
		if r := w.says(first, nil, "waits in outbox as row 1", `topic "orders"`, `key "k"`, "Nobody consumes the class: no living relay"); r.Findings[0].State != "nobody" {
			t.Errorf("%+v", r.Findings[0])
		}
		w.says(second, nil, "1 are of the same class and partition", "Row 1 has the same key and comes first")
		w.says(local, nil, `local consumer "billing"`, "no living consumer")
		node := sixfold.NewID()
		leases := w.st.Outbox().Leases()
		must(t, leases.Join(t.Context(), "", node, 3_600_000_000_000))
		w.says(second, nil, "Nobody has the partition at this moment, though 1 nodes")
		_, err := leases.Take(t.Context(), "", node, 64, outbox.ToBroker, false)
		must(t, err)
		w.says(second, nil, "Node "+node+" has the partition (epoch 1) and is alive")
		w.exec("UPDATE {{node}} SET until = {{now}}")
		w.says(second, nil, "Node "+node+" had the partition (epoch 1) and died")
		if !w.pg {
			return
		}
		stop := errors.New("stop")
		err = w.run.InTx(t.Context(), func(tx sqltx.Tx) error {
			w.row(tx, outbox.ToBroker, "", "k")
			var pid int
			must(t, tx.Each(t.Context(), "SELECT pg_backend_pid()", nil, func(r sqltx.Rows) error { return r.Scan(&pid) }))
			w.says(second, nil, fmt.Sprintf("The transaction of process %d", pid), "has written to the table", "may hold an earlier row")
			return stop
		})
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
	})
}

func TestExplainParkedAndDead(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.park(true, false, "first")
		w.park(false, false, "second")
		w.put(letter{dead: true, loose: true, id: "loose \x1b[31m", err: "broken \x1b[31m", reason: "permanent", consumer: "other"})
		w.put(letter{id: "twice", consumer: "a", key: "x"})
		w.put(letter{id: "twice", consumer: "b"})
		w.says("first", nil, "It is a dead letter of consumer \"billing\", number 1", `for the reason "attempts" after 9 attempts`, "blocks its key \"k\": 1 messages wait", "it failed", `The inbox of "billing" knows it as dead`)
		w.says("second", nil, "waits behind the dead letter 1", `knows it as parked`)
		w.says("loose \x1b[31m", nil, "holds nothing back", "permanent")
		w.says("twice", nil, `consumer "a"`, `consumer "b"`, "The line is due")
		_, err := w.letters.Discard(t.Context(), deadletter.Filter{Numbers: []int64{1}}, deadletter.Options{Who: "ann", Reason: "wrong"})
		must(t, err)
		w.says("first", nil, `"ann" did this at`, "discard of number 1, because: wrong", `knows it as dead`)
		w.claim(2)
		w.says("second", nil, "A consumer has the line in hand")
	})
}

func TestExplainWhatIsGone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		id := sixfold.NewID()
		if r := w.says(id, nil, "Nothing is known here", "handled longer ago than the inbox remembers", "around the place"); r.Found || len(r.Findings) != 0 {
			t.Errorf("%+v", r)
		}
		w.says("4711 \x1b[31m", nil, "their ids are UUIDs and this is none")
		env := &sixfold.Envelope{ID: id, Source: "shop", Type: "t"}
		for _, consumer := range []string{"billing", "shipping"} {
			must(t, w.run.InTx(t.Context(), func(tx sqltx.Tx) error {
				_, err := w.st.Inbox().Record(t.Context(), tx, consumer, []inbox.Record{inbox.RecordOf(env)})
				return err
			}))
		}
		w.says(id, nil, "Nothing is known here")
		w.says(id, &explain.Options{Sources: []string{"shop"}}, `Consumer "billing" handled it at`, `Consumer "shipping" handled it at`, `from "shop"`)
		signed := &sixfold.Envelope{ID: sixfold.NewID(), Source: "elsewhere", Type: "t"}
		signed.SetIssuer("shop")
		must(t, w.run.InTx(t.Context(), func(tx sqltx.Tx) error {
			_, err := w.st.Inbox().Record(t.Context(), tx, "billing", []inbox.Record{inbox.RecordOf(signed)})
			return err
		}))
		w.says(signed.ID, &explain.Options{Sources: []string{"shop"}}, `Consumer "billing" handled it at`)
		// A source that was seen lately need not be named.
		w.put(letter{})
		w.says(id, nil, `Consumer "billing" handled it at`)
		local, uuid := "0", "?1"
		if w.pg {
			local, uuid = "false", "?1::text::uuid"
		}
		when := "{{now}}"
		if !w.pg {
			when = "4000000000000000"
		}
		w.exec("INSERT INTO {{delivered}} (local, seq, partition, attempts, id, class, topic, attrs, created_at, delivered_at) VALUES ("+local+", 7, 1, 0, "+uuid+", '', 'orders', ?2, {{now}}, "+when+")", id, outbox.EncodeAttrs(env, outbox.Flags{}))
		w.says(id, nil, `confirmed it for topic "orders" as row 7`)
		w.says(id, &explain.Options{Exact: true}, `confirmed it for topic "orders" as row 7`, "every row")
	})
}

func TestExplainRefusesWhatIsNoID(t *testing.T) {
	w := onSQLite(t)
	for _, id := range []string{"", "a\x00b", strings.Repeat("x", 256)} {
		if _, err := explain.Message(context.Background(), w.st.Explain(), id, nil); err == nil || !strings.Contains(err.Error(), "give the id") {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := explain.Message(t.Context(), nil, "x", nil); err == nil {
		t.Error("no store")
	}
}
