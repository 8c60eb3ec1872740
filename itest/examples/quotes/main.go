// Command quotes is two services that call each other over NATS, in five acts. It starts a server of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/transport/nats"
)

func main() {
	server, err := servers.StartNATS(context.Background(), nil)
	if err == nil {
		err = errors.Join(run(context.Background(), server.URL(), os.Stdout), server.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run starts both services on one lane and plays the five acts.
func run(ctx context.Context, url string, out io.Writer) error {
	broker, err := nats.New(url, nil)
	if err != nil {
		return err
	}
	defer broker.Close(ctx)
	lane, err := broker.RequestLane(nil)
	if err != nil {
		return err
	}
	client, err := request.NewClient(lane, &request.ClientOptions{Source: "shop"})
	if err != nil {
		return err
	}
	defer client.Close(ctx)

	warehouse := &Warehouse{stock: map[string]int{"lamp": 3}, hold: make(chan struct{})}
	shop := &Shop{warehouse: client}
	quiet := &request.ServeOptions{Logger: slog.New(slog.DiscardHandler)}
	stock, err := request.Serve(lane, quiet, request.On(warehouse.Stock))
	if err != nil {
		return err
	}
	quotes, err := request.Serve(lane, quiet, request.On(shop.Quote))
	if err != nil {
		return err
	}

	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- sixfold.Run(running, stock, quotes) }() // stops the last one first
	<-stock.Listening()
	<-quotes.Listening()
	err = acts(ctx, client, out)
	stop()
	return errors.Join(err, <-done)
}

func acts(ctx context.Context, client *request.Client, out io.Writer) error {
	// One: a round trip.
	n, err := request.Send(ctx, client, GetStock{Item: "lamp"})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "1. lamps in stock:", n)

	// Two: a timeout. Whether the handler ran, nobody here knows.
	_, err = request.Send(ctx, client, GetStock{Item: "slow"}, request.Timeout(100*time.Millisecond))
	late := errors.Is(err, request.ErrTimeout) || errors.Is(err, &request.Fault{Category: request.Expired})
	fmt.Fprintln(out, "2. too late:", late)

	// Three: a fault. Its text stays with the warehouse.
	_, err = request.Send(ctx, client, GetStock{Item: "broken"})
	var fault *request.Fault
	if errors.As(err, &fault) {
		fmt.Fprintln(out, "3. the warehouse says:", fault.Category)
	}

	// Four and five: the shop asks the warehouse in turn, within what is left of the deadline.
	for act, item := range []string{"sofa", "lamp"} {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		res, err := request.Send(ctx, client, GetQuote{Item: item})
		cancel()
		if err != nil {
			return err
		}
		if no, ok := res.Rejection(); ok {
			fmt.Fprintf(out, "%d. no %s\n", act+4, no.Item)
		}
		if quote, ok := res.Value(); ok {
			fmt.Fprintf(out, "%d. a %s for %d cents\n", act+4, quote.Item, quote.Cents)
		}
	}
	return nil
}
