package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/bus"
)

func (a *app) busDeclare() *cobra.Command {
	var path string
	dry := false
	c := &cobra.Command{Use: "declare [TOPIC...] [--topology FILE]", Short: "make topics and what else a file describes, where it is missing",
		Long: `Make topics, their dead letters, and what else a file describes, where it is missing. What is
there stays as it is; where it differs from the file, that is said, and the exit code is 1. With
--dry-run nothing is made. The file is TOML:

    [[topic]]
    name = "orders"
    groups = ["billing"]  # for which messages wait before their first members have come
    unordered = false     # these groups do not ask for order
    lanes = 16            # as many members of an ordered group can work at once
    replicas = 3
    dedup = "2m"          # a second message of the same id within this is dropped

RabbitMQ and SQS have no lanes, replicas and dedup; on Kafka lanes are partitions, and there is no dedup. What only one kind of broker has, each key optional:

    [[rabbitmq.exchange]]  # name, kind, transient, auto_delete, internal, existing, args
    [[rabbitmq.queue]]     # name, classic, transient, auto_delete, single_active,
                           # delivery_limit, existing, args
    [[rabbitmq.binding]]   # from, to or to_exchange, key, args
    [[nats.stream]]        # topic, lanes, replicas, dedup, max_age, max_bytes, max_messages,
                           # storage, discard, existing
    [[kafka.topic]]        # name, partitions, replication, config
    [[sqs.queue]]          # name, retention, dead_queue, max_receives, existing, attributes, tags
    [[sqs.topic]]          # name, existing, attributes, tags
    [[sqs.subscription]]   # topic, queue, attributes`}
	c.Flags().StringVar(&path, "topology", "", "TOML `file` with the topics")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be made and what differs, and make nothing")
	c.RunE = func(c *cobra.Command, args []string) error {
		t := &topology{}
		if path != "" {
			var err error
			if t, err = readTopology(path); err != nil {
				return err
			}
		} else if len(args) == 0 {
			return usage("there is no topic", "name some, or give --topology with a file")
		}
		for _, name := range args {
			if err := checkTopicName(name); err != nil {
				return err
			}
			t.Topics = append(t.Topics, topic{Name: name})
		}
		b, err := a.openBroker(c.Context())
		if err != nil {
			return err
		}
		defer b.close()
		return a.declare(c.Context(), b, t, dry)
	}
	return c
}

// declared is what became of a part of a topology.
type declared struct {
	Topic string `json:"topic,omitempty"`
	Part  string `json:"part,omitempty"` // in place of Topic
	State string `json:"state"`          // there, made, would be made, differs, unknown
	Text  string `json:"text,omitempty"`
}

func (a *app) declare(ctx context.Context, b broker, t *topology, dry bool) error {
	list := []declared{}
	for i, x := range t.Topics {
		o, err := declareTopic(ctx, b, x, dry)
		if err != nil {
			f := asFailure(err)
			return &failure{f.Code, fmt.Sprintf("%s (%d of %d topics were looked after before)", f.Message, i, len(t.Topics)), f.Hint}
		}
		list = append(list, o)
	}
	before, err := b.compare(ctx, t)
	if err != nil {
		return err
	}
	after := before
	if !dry && len(before) > 0 {
		if err := b.complete(ctx, t); err != nil {
			return err
		}
		if after, err = b.compare(ctx, t); err != nil {
			return err
		}
	}
	differ := 0
	for i, p := range after {
		o := declared{Part: p.Name, State: string(p.State), Text: p.Text}
		switch {
		case p.State == bus.Missing && dry:
			o.State = "would be made"
		case p.State == bus.There && before[i].State == bus.Missing:
			o.State = "made"
		case p.State == bus.Unknown && !dry: // and the broker did not refuse it
			o.State, o.Text = "made where missing", ""
		case p.State == bus.Differs:
			differ++
		}
		list = append(list, o)
	}
	if err := a.showDeclared(list); err != nil {
		return err
	}
	if differ > 0 {
		return failedWith(fmt.Sprintf("%d of %d parts differ from the file, and were left as they are", differ, len(list)), "change the file, or what is there with the broker's own tools")
	}
	return nil
}

func declareTopic(ctx context.Context, b broker, x topic, dry bool) (declared, error) {
	there, err := b.find(ctx, x.Name)
	o := declared{Topic: x.Name, State: "there", Text: there}
	switch {
	case err != nil:
		return o, err
	case dry && there == "":
		o.State = "would be made"
		return o, nil
	case dry:
		return o, nil
	case there == "":
		o.State = "made"
	}
	if err := b.declare(ctx, x); err != nil { // also where it is there: its dead letters may be missing
		return o, err
	}
	o.Text, err = b.find(ctx, x.Name)
	return o, err
}

func (a *app) showDeclared(list []declared) error {
	if a.format == "json" {
		return a.json(list)
	}
	rows := [][]string{{"TOPIC OR PART", "STATE", "WHERE, OR WHAT DIFFERS"}}
	for _, o := range list {
		rows = append(rows, []string{o.Topic + o.Part, o.State, o.Text})
	}
	return a.table(rows)
}
