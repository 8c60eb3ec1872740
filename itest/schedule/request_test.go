package schedule

import (
	"context"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/request/durable"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// stocktaking is a request for a count.
type stocktaking struct {
	sixfold.Returns[int64] `json:"-"`
}

func (stocktaking) MessageName() string { return "test.stocktaking" }

// A request is asked when it is due, once or again and again, and its reply goes where the requester hears it. guarantees: C1, C2
func TestRequestsAreScheduled(t *testing.T) {
	databases(t, func(w *world) {
		box, err := outbox.New(w.st.Outbox(), nil, outbox.To("stock", stocktaking{}))
		must(w.T, err)
		w.box = box
		w.s = w.scheduler(w.st)
		in, err := inbox.New(w.DB, w.st.Inbox(), nil)
		must(w.T, err)
		const replies = "shop.replies"
		requests, err := durable.New(box, in, &durable.Options{ReplyTo: replies, Scheduler: w.s})
		must(w.T, err)
		var once string
		w.tx(func(ctx context.Context, tx sqltx.Tx) (err error) {
			if once, err = requests.Ask(ctx, tx, stocktaking{}, 0, outbox.Delay(time.Second)); err != nil {
				return err
			}
			_, err = w.s.Upsert(ctx, tx, schedule.Recurring{Name: "s0", Spec: "every 1s", Message: stocktaking{}, Options: []outbox.Option{outbox.ReplyTo(replies)}, MaxRuns: 2})
			return err
		})
		if n := len(w.rows(outbox.ToBroker, "")); n != 0 {
			w.Fatalf("%d requests were asked before their time", n)
		}
		stop := w.run(w.s)
		w.until("all are asked", func() bool { return len(w.rows(outbox.ToBroker, "")) >= 3 })
		stop()
		asked := map[string]bool{}
		for _, r := range w.rows(outbox.ToBroker, "") {
			env := sixfold.Envelope{ID: r.ID}
			_, err := outbox.DecodeAttrs(r.Attrs, &env)
			must(w.T, err)
			if asked[r.ID] = true; env.ReplyTo != replies || r.Topic != "stock" || env.CorrelationID != r.ID {
				w.Errorf("a request to %s is to be answered to %q, as part of %s", r.Topic, env.ReplyTo, env.CorrelationID)
			}
		}
		if len(asked) != 3 || !asked[once] {
			w.Errorf("%d requests were asked, want 3, and %s", len(asked), once)
		}
		w.once(1)
	})
}
