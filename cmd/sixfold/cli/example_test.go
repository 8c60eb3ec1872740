package cli_test

import (
	"os"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cmd/sixfold/cli"
)

// A sixfold of a service's own knows its sagas and messages.
func ExampleMain() {
	main := func(fulfilment cli.Flow, routes []sixfold.Route) { // opened and made as the service does
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr,
			cli.Sagas(fulfilment),
			cli.Routes("orders", routes...)))
	}
	_ = main
}
