package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/deadletter"
)

func (a *app) parkedCommand() *cobra.Command {
	return a.group("parked", "look at messages that wait for their next attempt, or behind others; let them run now",
		a.letterList(deadletter.Waiting), a.letterShow(), a.parkedRelease())
}

func (a *app) parkedRelease() *cobra.Command {
	c := &cobra.Command{Use: "release (N|ID... | --all | --key K ...) --yes", Short: "let lines of waiting messages run now, in their order",
		Long: `Let lines run now in which these messages wait, instead of at the time of their next attempt. A line
runs in its order: to release the third one releases the first.`}
	d := &doFlags{}
	d.add(c, "release")
	return a.doing(c, d, nil, action{"release", "released the lines of %d messages", "letting messages run before their time", deadletter.Waiting,
		func(l *deadletter.Letters) func(context.Context, deadletter.Filter, deadletter.Options) (deadletter.Report, error) {
			return l.Release
		}})
}
