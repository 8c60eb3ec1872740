package cli

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "say which version this is", Args: noArguments, RunE: func(*cobra.Command, []string) error {
		version := "(devel)"
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
			version = info.Main.Version
		}
		if a.format == "json" {
			return a.json(map[string]string{"version": version, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
		}
		return a.line("sixfold %s %s %s/%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	}}
}

// noArguments is for commands that have flags only.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("unknown argument "+quote(args[0])+" of "+c.CommandPath(), "see "+c.CommandPath()+" --help")
	}
	return nil
}

// oneArgument is for commands about one thing.
func oneArgument(what string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return usage(c.CommandPath()+" needs "+what, "see "+c.CommandPath()+" --help")
		case 1:
			return nil
		}
		return noArguments(c, args[1:])
	}
}
