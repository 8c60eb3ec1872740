// Command sixfold migrates the tables of Sixfold, looks after an outbox, and after the topics of a broker. Run it without
// arguments for its commands; docs/cli.md explains them.
package main

import (
	"os"

	"github.com/sixfold-go/sixfold/cmd/sixfold/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
