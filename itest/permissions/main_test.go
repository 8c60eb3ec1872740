// Package permissions runs each role over a broker with exactly the permissions that docs/broker-permissions.md names.
package permissions

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/request"
)

func TestMain(m *testing.M) { servers.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The names that the page uses.
var shipping = bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}

const destination = "quotes.get"

// patience bounds what must happen; what must fail says so sooner, or does not happen within brief.
const (
	patience = time.Minute
	brief    = 2 * time.Second
)

// rows are those of the page's table with that heading: the cells of each, without quotes, by the first one.
func rows(t *testing.T, heading string) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/broker-permissions.md")
	must(t, err)
	_, after, ok := strings.Cut(string(page), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("docs/broker-permissions.md has no heading %q", heading)
	}
	all := map[string][]string{}
	for line := range strings.Lines(after) {
		if strings.HasPrefix(line, "## ") {
			break
		}
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| role") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(strings.TrimSpace(strings.ReplaceAll(line, `\|`, "\x00")), "|"), "|") {
			cells = append(cells, strings.TrimSpace(strings.ReplaceAll(cell, "\x00", "|")))
		}
		all[cells[0]] = cells[1:]
	}
	if len(all) == 0 {
		t.Fatalf("the chapter %q has no table", heading)
	}
	return all
}

// quote is what is asked.
type quote struct {
	sixfold.Returns[int] `json:"-"`
	Wait                 bool
}

func (quote) MessageName() string { return destination }

type order struct{ ID string }

func (order) MessageName() string  { return "orders.placed" }
func (o order) MessageKey() string { return o.ID }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// half of the time that ctx leaves.
func half(ctx context.Context) time.Duration {
	end, _ := ctx.Deadline() // all have one
	return max(time.Second, time.Until(end)/2)
}

// publishes sends one message.
func publishes(ctx context.Context, broker bus.Transport, topic string) error {
	p, err := bus.NewPublisher(broker, &bus.PublisherOptions{Logger: quiet()})
	if err != nil {
		return err
	}
	defer p.Close(context.Background())
	_, err = p.Publish(ctx, topic, order{"1"})
	return err
}

// consumes handles one message, which somebody with all rights sends; with dies it makes a dead letter of it.
func consumes(ctx context.Context, broker, admin bus.Transport, dies bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	over := make(chan struct{}, 100)
	consumer, err := bus.NewConsumer(broker, shipping, &bus.Options{Logger: quiet(), DrainTimeout: half(ctx), Hooks: bus.Hooks{Dead: func(*bus.Delivery, string, error) { over <- struct{}{} }}},
		sixfold.On(func(context.Context, order) error {
			if dies {
				return sixfold.Permanent(errors.New("no"))
			}
			over <- struct{}{}
			return nil
		}))
	if err != nil {
		return err
	}
	ran := make(chan error, 1)
	go func() { ran <- consumer.Run(ctx) }()
	if err := publishes(ctx, admin, "orders"); err != nil {
		cancel()
		return errors.Join(err, <-ran)
	}
	select {
	case <-over:
		cancel()
		return <-ran
	case err := <-ran:
		return fmt.Errorf("the consumer ended: %w", err)
	case <-ctx.Done():
		return errors.Join(ctx.Err(), <-ran)
	}
}

// count is a stream at the destination of quote.
type count struct {
	sixfold.Returns[iter.Seq2[int, error]] `json:"-"`
}

func (count) MessageName() string { return "quotes.count" }

// counts is longer than what may come without credit.
func counts(context.Context, count) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for n := 0; n < 20 && yield(n, nil); n++ {
		}
	}
}

// flows reads a stream and asks all who listen.
func flows(ctx context.Context, c *request.Client) error {
	to, n := request.To(quote{}.MessageName()), 0
	for item, err := range request.Stream(ctx, c, count{}, to, request.Window(2)) {
		if err != nil || item != n {
			return fmt.Errorf("item %d of a stream is %d, %w", n, item, err)
		}
		n++
	}
	if n != 20 {
		return fmt.Errorf("a stream had %d items", n)
	}
	if all, err := request.Scatter(ctx, c, quote{}, request.Want(1)).Collect(); err != nil || len(all) != 1 || all[0].Result != 7 {
		return fmt.Errorf("all who listen answered %+v, %w", all, err)
	}
	return nil
}

// calls asks a responder once, for a stream, and as one of all, and cancels a further call, so that its handler ends.
func calls(ctx context.Context, caller, responder request.Lane) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	began, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	r, err := request.Serve(responder, &request.ServeOptions{Logger: quiet(), DrainTimeout: time.Second}, request.On(func(ctx context.Context, q quote) (int, error) {
		if q.Wait {
			began <- struct{}{}
			<-ctx.Done()
			ended <- struct{}{}
		}
		return 7, nil
	}), request.OnStream(counts).At(quote{}.MessageName()))
	if err != nil {
		return err
	}
	ran := make(chan error, 1)
	running, stop := context.WithCancel(context.Background())
	go func() { ran <- r.Run(running) }()
	done := false
	defer func() {
		stop()
		if !done {
			<-ran
		}
	}()
	select {
	case <-r.Listening():
	case err := <-ran:
		done = true
		return fmt.Errorf("the responder ended: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
	c, err := request.NewClient(caller, nil)
	if err != nil {
		return err
	}
	defer c.Close(context.Background())
	if n, err := request.Send(ctx, c, quote{}); err != nil || n != 7 {
		return fmt.Errorf("a call answered %d, %w", n, err)
	}
	if err := flows(ctx, c); err != nil {
		return err
	}
	asking, giveUp := context.WithCancel(context.WithoutCancel(ctx)) // whose deadline would end the handler too
	defer giveUp()
	out := make(chan error, 1)
	go func() { _, err := request.Send(asking, c, quote{Wait: true}, request.Timeout(patience)); out <- err }()
	select {
	case <-began:
	case err := <-out:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
	giveUp()
	<-out
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("a cancellation did not arrive: %w", ctx.Err())
	}
}
