// Command demo places orders in one database while a relay is killed again and again, and shows that every order
// arrives once and in order at the handlers of two other services. It needs no server: each service has a SQLite file.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/sixfold-go/sixfold/examples/demo/demo"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(demo.Main(ctx, demo.Databases(), os.Args[1:], os.Stdout, os.Stderr))
}
