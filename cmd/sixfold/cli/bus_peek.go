package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) busPeek() *cobra.Command {
	body := false
	c := &cobra.Command{Use: "peek TOPIC", Short: "show the oldest messages of a topic and leave them there", Args: oneArgument("the name of a topic"),
		Long: `Show the oldest messages of a topic and leave them there. On RabbitMQ and SQS name a queue, like
shipping@orders, or a topic of dead letters; on RabbitMQ a queue with consumers is refused.`}
	limit := limitFlag(c, 1000)
	c.Flags().BoolVar(&body, "body", false, "show bodies too")
	c.RunE = func(c *cobra.Command, args []string) error {
		most, err := limit()
		if err != nil {
			return err
		}
		if err := checkTopicName(args[0]); err != nil {
			return err
		}
		b, err := a.openBroker(c.Context())
		if err != nil {
			return err
		}
		defer b.close()
		list, total, err := b.peek(c.Context(), args[0], most)
		if err != nil {
			return err
		}
		for i := range list {
			if err := a.message(list[i].at, args[0], &list[i].env, list[i].damaged, body); err != nil {
				return err
			}
		}
		if a.format == "json" {
			return nil
		}
		return a.line("%s", fold(fmt.Sprintf("%d of %d messages. %s", len(list), total, b.peekCost()), a.columns()))
	}
	return c
}
