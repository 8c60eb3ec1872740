package cli

import "github.com/spf13/cobra"

func (a *app) busPurge() *cobra.Command {
	yes := false
	c := &cobra.Command{Use: "purge TOPIC --yes", Short: "remove all messages of a topic; groups that have not handled them never do", Args: oneArgument("the name of a topic"),
		Long: `Remove all messages of a topic; groups that have not handled them never do. On RabbitMQ and SQS
name a queue, like shipping@orders, or a topic of dead letters.`}
	c.Flags().BoolVar(&yes, "yes", false, "yes, remove them")
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := checkTopicName(args[0]); err != nil {
			return err
		}
		if err := needYes(yes, "removing messages"); err != nil {
			return err
		}
		b, err := a.openBroker(c.Context())
		if err != nil {
			return err
		}
		defer b.close()
		n, err := b.purge(c.Context(), args[0])
		if err != nil {
			return err
		}
		if a.format == "json" {
			return a.json(map[string]uint64{"removed": n})
		}
		return a.line("removed %d messages from %s", n, args[0])
	}
	return c
}
