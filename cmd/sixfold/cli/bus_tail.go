package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/bus"
)

func (a *app) busTail() *cobra.Command {
	body, count := false, 0
	c := &cobra.Command{Use: "tail TOPIC...", Short: "show messages as they are sent, until interrupted; takes them from nobody",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("sixfold bus tail needs the name of a topic", "see sixfold bus tail --help")
			}
			return nil
		}}
	c.Flags().BoolVar(&body, "body", false, "show bodies too")
	c.Flags().IntVar(&count, "count", 0, "end after `N` messages; 0: go on")
	c.RunE = func(c *cobra.Command, args []string) error {
		if count < 0 {
			return usage(fmt.Sprintf("--count %d: it is negative", count), "write --count 10, or leave it out")
		}
		for _, name := range args {
			if err := checkTopicName(name); err != nil {
				return err
			}
		}
		b, err := a.openBroker(c.Context())
		if err != nil {
			return err
		}
		defer b.close()
		if !b.transport().Capabilities().Copies {
			return failedWith("this broker, as it is set up, gives nobody a copy of what a group gets", "look at what waits with sixfold bus peek")
		}
		for _, name := range args {
			there, err := b.find(c.Context(), name)
			if err != nil {
				return err
			}
			if there == "" {
				return noTopic(name)
			}
		}
		// Without a group this is a copy of its own, which nobody shares.
		src, err := b.transport().Subscribe(c.Context(), bus.Subscription{Topics: args})
		if err != nil {
			return err
		}
		defer src.Close(context.WithoutCancel(c.Context()))
		fmt.Fprintln(a.err, "sixfold: following; interrupt to end")
		return a.follow(c.Context(), src, body, count)
	}
	return c
}

func (a *app) follow(ctx context.Context, src bus.Source, body bool, count int) error {
	for seen := 0; ; {
		most := 100
		if count > 0 {
			most = min(most, count-seen)
		}
		list, err := src.Receive(ctx, most)
		if interrupted(ctx) {
			fmt.Fprintf(a.err, "sixfold: interrupted after %d messages\n", seen)
			return nil
		}
		if err != nil {
			return err
		}
		done := make([]bus.Settlement, 0, len(list))
		for _, d := range list {
			seen++
			if err := a.message("", d.Topic, &d.Envelope, d.Damaged, body); err != nil {
				return err
			}
			done = append(done, bus.Settlement{Delivery: d})
		}
		if err := errors.Join(src.Settle(ctx, done)...); err != nil && !interrupted(ctx) && !errors.Is(err, bus.ErrLost) {
			return err
		}
		if count > 0 && seen >= count {
			return nil
		}
	}
}
