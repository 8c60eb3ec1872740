package cli

import (
	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/examples/demo/demo"
)

func (a *app) demoCommand() *cobra.Command {
	return &cobra.Command{Use: "demo [--orders N] [--kills N] [-v]", Short: "show orders arriving once and in order while relays are killed; needs nothing",
		// The demo reads its own flags, as when it is run by itself.
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			if code := demo.Main(c.Context(), demo.Databases(), args, a.out, a.err); code != 0 {
				return &failure{code, "the demo did not end well", "see above"}
			}
			return nil
		}}
}
