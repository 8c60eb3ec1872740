package cli

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

func (a *app) outboxPublish() *cobra.Command {
	var m messageFlags
	var topic, consumer, class string
	c := &cobra.Command{Use: "publish (--topic T | --consumer C) --type NAME", Short: "write one message into the outbox", Args: noArguments}
	c.Flags().StringVar(&topic, "topic", "", "`topic` of a broker that a relay sends it to")
	c.Flags().StringVar(&consumer, "consumer", "", "`name` of a consumer of this database, instead of a topic")
	c.Flags().StringVar(&class, "class", "", "`name` of the transport, where relays have several")
	m.add(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if (topic == "") == (consumer == "") {
			return usage("it is not said where the message goes", "give one of --topic and --consumer")
		}
		t := outbox.ToBroker
		if consumer != "" {
			t, class = outbox.ToLocal, consumer
			if err := sixfold.CheckMessageName(consumer); err != nil {
				return usage("--consumer "+quote(consumer)+": it is no name of a consumer", "use letters, digits and dots")
			}
		} else if err := sixfold.CheckTopic(topic); err != nil {
			f := asFailure(err)
			return usage("--topic: "+f.Message, f.Hint)
		}
		env, err := m.envelope(c, a.stdin)
		if err != nil {
			return err
		}
		db, err := a.connect(c.Context(), false)
		if err != nil {
			return err
		}
		defer db.close()
		row := outbox.Row{Partition: partitionOf(env), ID: env.ID, Class: class, Topic: topic, Key: env.Key, Attrs: outbox.EncodeAttrs(env, outbox.Flags{MustReach: true}), Body: env.Body}
		if m.id != "" { // as outbox.ID: a second message of that id to the same destination is refused
			row.Claim = strings.Join([]string{"id", env.ID, t.String(), class, topic}, "\x1f")
		}
		var taken []int
		err = db.run.InTx(c.Context(), func(tx sqltx.Tx) error {
			taken, _, err = db.Outbox().Writer().Append(c.Context(), tx, t, []outbox.Row{row}, false)
			return err
		})
		switch {
		case errors.Is(err, sqltx.ErrCommitUnknown):
			return failedWith("the connection was lost during the commit, and nobody knows whether message "+env.ID+" was written", "look with sixfold outbox show before you publish it again")
		case err != nil:
			return err
		case len(taken) > 0:
			return failedWith("a message of id "+env.ID+" was published to that destination before", "leave --id out for another message")
		}
		if a.format == "json" {
			return a.json(map[string]string{"id": env.ID, "table": t.String()})
		}
		return a.line("%s", env.ID)
	}
	return c
}

// partitionOf spreads messages without a key by their id.
func partitionOf(env *sixfold.Envelope) int16 {
	if env.Key == "" {
		return outbox.PartitionOf(env.ID)
	}
	return outbox.PartitionOf(env.Key)
}
