// Package capabilities holds the test that keeps the table of docs/transports.md the one that the drivers state.
package capabilities

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/kafka"
	"github.com/sixfold-go/sixfold/transport/memory"
	"github.com/sixfold-go/sixfold/transport/nats"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
	"github.com/sixfold-go/sixfold/transport/sqs"
)

var update = flag.Bool("update", false, "write the table into the page")

const (
	page  = "../../docs/transports.md"
	begin = "<!-- capabilities: written by go test ./itest/capabilities -update -->\n"
	end   = "<!-- end of capabilities -->\n"
)

// driver is a transport as it states itself with its default options, or with those that the name tells of.
type driver struct {
	name string
	caps func() (bus.Capabilities, error)
}

func drivers() []driver {
	return []driver{
		{"[memory](#memory)", func() (bus.Capabilities, error) { return memory.New(nil).Capabilities(), nil }},
		{"[a database](transport-sqlqueue.md)", of(sqlqueue.New(new(store.Broker), nil))},
		{"[NATS JetStream](#nats-jetstream)", of(nats.New("nats://127.0.0.1:1", nil))},
		{"NATS JetStream, replicated", of(nats.New("nats://127.0.0.1:1", &nats.Options{Replicas: 3}))},
		{"[Kafka](transport-kafka.md)", of(kafka.New("kafka://127.0.0.1:1", nil))},
		{"[RabbitMQ](transport-rabbitmq.md)", of(rabbitmq.New("amqp://127.0.0.1:1", nil))},
		{"RabbitMQ, `OnePerKey`", of(rabbitmq.New("amqp://127.0.0.1:1", &rabbitmq.Options{OnePerKey: true}))},
		{"[SQS and SNS](transport-sqs.md), FIFO", func() (bus.Capabilities, error) { return onSQS(nil) }},
		{"SQS and SNS, standard", func() (bus.Capabilities, error) { return onSQS(&sqs.Options{Standard: true}) }},
		{"SQS alone, FIFO", func() (bus.Capabilities, error) { return onSQS(&sqs.Options{PointToPoint: true}) }},
	}
}

func onSQS(o *sqs.Options) (bus.Capabilities, error) {
	return of(sqs.NewClients(awssqs.New(awssqs.Options{}), awssns.New(awssns.Options{}), o))()
}

// of is what a transport states that connects to nothing before it is used.
func of(t interface{ Capabilities() bus.Capabilities }, err error) func() (bus.Capabilities, error) {
	return func() (bus.Capabilities, error) {
		if err != nil {
			return bus.Capabilities{}, err
		}
		return t.Capabilities(), nil
	}
}

func table(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| transport | order per key | several of a key in flight | confirms | copies without a group | drops repeats within | largest message | delivery ours unless extended | longest hold | settled comes again after a planned stop |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|\n")
	for _, d := range drivers() {
		c, err := d.caps()
		if err != nil {
			t.Fatal(err)
		}
		extended := "stays ours"
		if c.ExtendEvery > 0 {
			extended = "extended every " + short(c.ExtendEvery)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", d.name, yes(c.OrderPerKey), yes(c.PrefixPerKey), yes(c.Confirms), yes(c.Copies),
			orNone(c.DedupWindow), size(c.MaxBody), extended, orNone(c.LongestHold), yes(c.RepeatsAfterStop))
	}
	return b.String()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orNone(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return short(d)
}

func short(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%g s", d.Seconds())
}

func size(n int) string {
	switch {
	case n == 0:
		return "–"
	case n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

// The table in the documentation is what the drivers state.
func TestTableIsWhatDriversState(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table: write the lines %q and %q", page, begin, end)
	}
	if want := table(t); old != want {
		if !*update {
			t.Fatalf("the table in %s is not what the drivers state; run: go test ./capabilities -update\n%s", page, want)
		}
		if err := os.WriteFile(page, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
