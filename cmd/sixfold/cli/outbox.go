package cli

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/store"
)

func (a *app) outboxCommand() *cobra.Command {
	return a.group("outbox", "look at messages on their way, remove them, add one",
		a.outboxStats(), a.outboxList(), a.outboxShow(), a.outboxPurge(), a.outboxPublish())
}

// localFlag chooses the table.
func localFlag(c *cobra.Command) func() outbox.Table {
	local := c.Flags().Bool("local", false, "messages for consumers of the same database, instead of those for a broker")
	return func() outbox.Table {
		if *local {
			return outbox.ToLocal
		}
		return outbox.ToBroker
	}
}

// limitFlag bounds what is shown.
func limitFlag(c *cobra.Command, most int) func() (int, error) {
	limit := c.Flags().Int("limit", 20, "show at most `N`")
	return func() (int, error) {
		if *limit < 1 || *limit > most {
			return 0, usage("--limit "+strconv.Itoa(*limit)+": it is outside 1 to "+strconv.Itoa(most), "write --limit 20, or leave it out")
		}
		return *limit, nil
	}
}

// shownRow is a row for JSON.
type shownRow struct {
	Table      string            `json:"table"`
	Seq        int64             `json:"seq"`
	ID         string            `json:"id"`
	Class      string            `json:"class"`
	Topic      string            `json:"topic,omitempty"`
	Type       string            `json:"type"`
	Key        string            `json:"key,omitempty"`
	Partition  int16             `json:"partition"`
	Attempts   int16             `json:"attempts"`
	CreatedAt  time.Time         `json:"created_at"`
	AgeSeconds float64           `json:"age_seconds"`
	BodyBytes  int               `json:"body_bytes"` // -1: none
	Attributes map[string]string `json:"attributes,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	Unreadable string            `json:"unreadable,omitempty"`
	payload
}

func shown(t outbox.Table, e *store.Entry) (r shownRow, env sixfold.Envelope) {
	r = shownRow{Table: t.String(), Seq: e.Seq, ID: e.ID, Class: e.Class, Topic: e.Topic, Key: e.Key, Partition: e.Partition, Attempts: e.Attempts,
		CreatedAt: e.CreatedAt, AgeSeconds: e.Age.Round(time.Millisecond).Seconds(), BodyBytes: e.BodySize}
	if _, err := outbox.DecodeAttrs(e.Attrs, &env); err != nil {
		r.Unreadable = err.Error()
	}
	r.Type = env.Type
	return r, env
}

// attributes of an envelope that are set, for people.
func attributes(env *sixfold.Envelope) map[string]string {
	all := map[string]string{"source": env.Source, "subject": env.Subject, "datacontenttype": env.ContentType, "correlationid": env.CorrelationID,
		"causationid": env.CausationID, "traceparent": env.TraceParent, "tracestate": env.TraceState, "replyto": env.ReplyTo, "sequence": env.Sequence}
	if !env.Time.IsZero() {
		all["time"] = env.Time.Format(time.RFC3339Nano)
	}
	if !env.Expires.IsZero() {
		all["expirytime"] = env.Expires.Format(time.RFC3339Nano)
	}
	for name, v := range all {
		if v == "" {
			delete(all, name)
		}
	}
	return all
}
