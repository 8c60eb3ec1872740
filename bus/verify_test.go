package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/sqltx"
)

// guarantees: I10
func TestWhatVerifyRefusesIsDeadAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var got trace
		o := &bus.Options{Logger: quiet(), Verify: func(env *sixfold.Envelope) (string, error) {
			switch env.ID {
			case "forged1", "forged2":
				return "", errors.New("who are you")
			case "nobody":
				return "", nil
			}
			return "owner of " + env.ID, nil
		}}
		c := f.consumer(t, o, raw(func(_ context.Context, env *sixfold.Envelope) error {
			got.add(env.ID + "=" + env.Issuer())
			return nil
		}))
		stop := start(t, c)
		claims := msg("claims", "c")
		claims.SetIssuer("shop") // which nothing on the wire can say, but a driver's mistake might
		local := msg("local", "l")
		local.SetIssuer("shop")
		local.Claims = ownRows{}
		f.deliver(msg("forged1", "a"), msg("forged2", "a"), msg("good", "a"), msg("nobody", "b"), claims, local)
		pass(time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		// A forged message does not hold its key up.
		for _, want := range []string{"good=owner of good", "claims=owner of claims", "local="} {
			if !strings.Contains(" "+got.String()+" ", " "+want+" ") {
				t.Errorf("%q did not run with its issuer: %s", want, got.String())
			}
		}
		if strings.Contains(got.String(), "forged") || strings.Contains(got.String(), "nobody") {
			t.Errorf("a handler saw what was refused: %s", got.String())
		}
		if sent := f.sent(); len(sent) != 3 {
			t.Errorf("%d dead letters", len(sent))
		}
		for _, out := range f.sent() {
			if out.Headers[bus.DeadReason] != "unauthorised" || out.Headers[bus.DeadAttempts] != "0" || !strings.Contains(out.Headers[bus.DeadError], "not authorised") {
				t.Errorf("%s: %v", out.ID, out.Headers)
			}
		}
	})
}

// guarantees: I10
func TestWithoutVerifyNobodyIsTheIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var got trace
		stop := start(t, f.consumer(t, nil, raw(func(_ context.Context, env *sixfold.Envelope) error {
			got.add(env.ID + "=" + env.Issuer())
			return nil
		})))
		d := msg("1", "")
		d.SetIssuer("shop")
		f.deliver(d)
		pass(time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		got.want(t, "1=")
	})
}

// ownRows are claims that are never asked.
type ownRows struct{}

func (ownRows) Claim(context.Context, sqltx.Tx, []*bus.Delivery) ([]bus.Found, error) {
	return nil, nil
}

func TestPublisherSeals(t *testing.T) {
	f := newFake()
	fail := false
	p, err := bus.NewPublisher(f, &bus.PublisherOptions{Seal: func(env *sixfold.Envelope) error {
		if fail {
			return errors.New("no key")
		}
		env.Headers = map[string]string{"sealed": env.Key}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	publish := func() error {
		_, err := p.Publish(t.Context(), "orders", sealed{}, bus.With(func(env *sixfold.Envelope) { env.Key = "k" }))
		return err
	}
	if err := publish(); err != nil {
		t.Fatal(err)
	}
	fail = true
	if err := publish(); err == nil || !strings.Contains(err.Error(), "no key") {
		t.Error(err)
	}
	if sent := f.sent(); len(sent) != 1 || sent[0].Headers["sealed"] != "k" {
		t.Error(sent)
	}
}

type sealed struct{}

func (sealed) MessageName() string { return "sealed" }
