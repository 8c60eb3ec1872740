package cli

import (
	"context"
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

func (a *app) busPublish() *cobra.Command {
	var m messageFlags
	c := &cobra.Command{Use: "publish TOPIC --type NAME", Short: "send one message to a topic, past any outbox, and wait for the confirm", Args: oneArgument("the name of a topic")}
	m.add(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkTopicName(args[0]); err != nil {
			return err
		}
		env, err := m.envelope(c, a.stdin)
		if err != nil {
			return err
		}
		b, err := a.openBroker(c.Context())
		if err != nil {
			return err
		}
		defer b.close()
		p, err := bus.NewPublisher(b.transport(), &bus.PublisherOptions{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		defer p.Close(context.WithoutCancel(c.Context()))
		limited, cancel := context.WithTimeout(c.Context(), a.timeout)
		defer cancel()
		err = p.PublishEnvelopes(limited, args[0], []*sixfold.Envelope{env})
		switch {
		case errors.Is(err, bus.ErrUnroutable):
			if there, err := b.find(c.Context(), args[0]); err == nil && there != "" {
				return failedWith("nobody gets what is sent to topic "+quote(args[0])+": no queue is bound to it", "let a group subscribe first")
			}
			return noTopic(args[0])
		case errors.Is(err, bus.ErrInDoubt):
			return failedWith("the broker did not confirm message "+env.ID+" in time, and may have it", "look with sixfold bus peek before you send it again")
		case err != nil:
			return err
		}
		if a.format == "json" {
			return a.json(map[string]string{"id": env.ID, "topic": args[0]})
		}
		return a.line("%s", env.ID)
	}
	return c
}
