package request_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/signature"
	"github.com/sixfold-go/sixfold/transport/memory"
)

type Quote struct{ Price int }

type OutOfStock struct{ Item string }

type QuoteResult = request.Result[Quote, OutOfStock]

type GetQuote struct {
	sixfold.Returns[QuoteResult] `json:"-"`
	Item                         string
}

func (GetQuote) MessageName() string { return "quotes.get" }

func Example() {
	lane, err := memory.NewRequestLane(nil)
	if err != nil {
		panic(err)
	}
	responder, err := request.Serve(lane, nil, request.On(func(_ context.Context, q GetQuote) (res QuoteResult, err error) {
		if q.Item == "unicorn" {
			return res.Reject(OutOfStock{Item: q.Item}), nil // a reply like any other
		}
		return res.Accept(Quote{Price: 100 * len(q.Item)}), nil
	}))
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- responder.Run(ctx) }()
	<-responder.Listening()

	client, err := request.NewClient(lane, nil)
	if err != nil {
		panic(err)
	}
	for _, item := range []string{"lamp", "unicorn"} {
		res, err := request.Send(ctx, client, GetQuote{Item: item})
		if err != nil {
			panic(err)
		}
		if quote, ok := res.Value(); ok {
			fmt.Println(item, "costs", quote.Price)
		} else if no, ok := res.Rejection(); ok {
			fmt.Println(no.Item, "is out of stock")
		}
	}
	stop()
	fmt.Println(errors.Join(<-done, client.Close(context.Background())))
	// Output:
	// lamp costs 400
	// unicorn is out of stock
	// <nil>
}

type WhoAmI struct {
	sixfold.Returns[string] `json:"-"`
}

func (WhoAmI) MessageName() string { return "names.who_am_i" }

// Each side signs with its own key and accepts the other's.
func Example_signed() {
	lane, err := memory.NewRequestLane(nil)
	if err != nil {
		panic(err)
	}
	if err := signedCall(lane, ed25519.NewKeyFromSeed(make([]byte, 32)), ed25519.NewKeyFromSeed([]byte("a seed of thirty-two bytes, here"))); err != nil {
		fmt.Println(err)
	}
	// Output: you are the-shop
}

func signedCall(lane request.Lane, shopKey, namesKey ed25519.PrivateKey) error {
	shop, err1 := signature.NewSigner(signature.SigningKey{ID: "shop-1", Private: shopKey}, "calls", nil)
	names, err2 := signature.NewSigner(signature.SigningKey{ID: "names-1", Private: namesKey}, "calls", nil)
	callers, err3 := signature.NewVerifier(nil, []signature.VerifyKey{{ID: "shop-1", Owner: "the-shop", Public: shopKey.Public().(ed25519.PublicKey)}}, nil)
	responders, err4 := signature.NewVerifier(nil, []signature.VerifyKey{{ID: "names-1", Owner: "names", Public: namesKey.Public().(ed25519.PublicKey)}}, nil)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	responder, err := request.Serve(lane, &request.ServeOptions{Signer: names, Verifier: callers},
		request.On(func(ctx context.Context, _ WhoAmI) (string, error) {
			return "you are " + sixfold.InfoFrom(ctx).Envelope.Issuer(), nil
		}))
	if err != nil {
		return err
	}
	client, err := request.NewClient(lane, &request.ClientOptions{Signer: shop, Verifier: responders})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- responder.Run(ctx) }()
	<-responder.Listening()
	answer, err := request.Send(ctx, client, WhoAmI{})
	fmt.Println(answer)
	stop()
	return errors.Join(err, <-done, client.Close(context.Background()))
}

// The best of several offers: who answers too late is left out.
func ExampleGather() {
	lane, err := memory.NewRequestLane(nil)
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	for destination, price := range map[string]int{"quotes.north": 300, "quotes.south": 200} {
		shop, err := request.Serve(lane, nil, request.On(func(context.Context, GetQuote) (res QuoteResult, err error) {
			return res.Accept(Quote{Price: price}), nil
		}).At(destination))
		if err != nil {
			panic(err)
		}
		go func() { done <- shop.Run(ctx) }()
		<-shop.Listening()
	}
	client, err := request.NewClient(lane, nil)
	if err != nil {
		panic(err)
	}
	best, from := Quote{Price: 1000}, "nobody"
	for a := range request.Gather(ctx, client, GetQuote{Item: "pen"}, []string{"quotes.north", "quotes.south", "quotes.west"}) {
		if quote, ok := a.Result.Value(); a.Err == nil && ok && quote.Price < best.Price {
			best, from = quote, a.To
		}
	}
	fmt.Println(best.Price, "from", from)
	stop()
	fmt.Println(errors.Join(<-done, <-done, client.Close(context.Background())))
	// Output:
	// 200 from quotes.south
	// <nil>
}
