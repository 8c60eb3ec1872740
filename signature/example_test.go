package signature_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/signature"
	"github.com/sixfold-go/sixfold/transport/memory"
)

type OrderPlaced struct {
	OrderID string `json:"order_id"`
}

func (OrderPlaced) MessageName() string { return "orders.placed" }

// What the shop has signed is handled; what somebody else puts into the topic under its name is not.
func Example() {
	broker := memory.New(&memory.Options{Topics: []string{"orders", "orders.dead"}})
	defer broker.Close(context.Background())
	if err := trust(context.Background(), broker, private(1)); err != nil {
		fmt.Println(err)
	}
	// Unordered output:
	// dead: unauthorised
	// an order of "shop"
}

func trust(ctx context.Context, broker bus.Transport, private ed25519.PrivateKey) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signer, err := signature.NewSigner(signature.SigningKey{ID: "shop-2026", Private: private}, "orders", nil)
	if err != nil {
		return err
	}
	shop, err := bus.NewPublisher(broker, &bus.PublisherOptions{Source: "shop", Seal: signer.Sign})
	if err != nil {
		return err
	}
	defer shop.Close(ctx)

	public := private.Public().(ed25519.PublicKey)
	verifier, err := signature.NewVerifier([]string{"orders"}, []signature.VerifyKey{
		{ID: "shop-2026", Owner: "shop", Public: public},
	}, nil)
	if err != nil {
		return err
	}
	hooks := bus.Hooks{Dead: func(_ *bus.Delivery, reason string, _ error) { fmt.Println("dead:", reason) }}
	consumer, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping"},
		&bus.Options{Verify: verifier.Verify, Concurrency: 1, Logger: slog.New(slog.DiscardHandler), Hooks: hooks},
		sixfold.On(func(ctx context.Context, m OrderPlaced) error {
			fmt.Printf("an order of %q\n", sixfold.InfoFrom(ctx).Envelope.Issuer())
			cancel()
			return nil
		}))
	if err != nil {
		return err
	}
	intruder, err := bus.NewPublisher(broker, &bus.PublisherOptions{Source: "shop"})
	if err != nil {
		return err
	}
	defer intruder.Close(ctx)
	for _, p := range []*bus.Publisher{intruder, shop} {
		if _, err := p.Publish(ctx, "orders", OrderPlaced{OrderID: "7"}); err != nil {
			return err
		}
	}
	return consumer.Run(ctx)
}

// An outbox signs in the transaction: relays need no key.
func ExampleSigner_Sign() {
	open := func(st outbox.Store, signer *signature.Signer) (*outbox.Outbox, error) {
		return outbox.New(st, &outbox.Options{Source: "shop", Seal: signer.Sign}, outbox.To("orders", OrderPlaced{}))
	}
	_ = open
}

// What others write into the outbox's table, and cron ticks, a relay can sign on their way.
func ExampleSigner_Middleware() {
	relay := func(st outbox.Store, broker bus.Transport, signer *signature.Signer) (*outbox.Relay, error) {
		return outbox.NewRelay(st, bus.Through(broker, signer.Middleware()), nil)
	}
	_ = relay
}
