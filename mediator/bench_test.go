package mediator_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
)

// rename is a command of three fields that the compiler cannot know.
type rename struct {
	sixfold.Returns[int] `json:"-"`

	ID, From, To string
}

func (rename) MessageName() string { return "customers.rename" }

type renamed struct{ ID, From, To string }

func (renamed) MessageName() string { return "customers.renamed" }

func through(next sixfold.Handler) sixfold.Handler {
	return func(ctx context.Context, env *sixfold.Envelope) error { return next(ctx, env) }
}

var ids = func() (ids [64]string) {
	for i := range ids {
		ids[i] = strconv.Itoa(1000 + i)
	}
	return ids
}()

var sink int

//go:noinline
func handleRename(_ context.Context, c rename) (int, error) { return len(c.ID) + len(c.To), nil }

//go:noinline
func onRenamed(_ context.Context, n renamed) error { sink += len(n.To); return nil }

func BenchmarkSend(b *testing.B) {
	for name, mws := range map[string][]sixfold.Middleware{"plain": nil, "3mw": {through, through, through}} {
		b.Run(name, func(b *testing.B) {
			m, err := mediator.New(&mediator.Options{Middleware: mws}, mediator.OnCommand(handleRename))
			if err != nil {
				b.Fatal(err)
			}
			ctx := b.Context()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				n, err := mediator.Send(ctx, m, rename{ID: ids[i%64], From: ids[(i+1)%64], To: ids[(i+2)%64]})
				if err != nil {
					b.Fatal(err)
				}
				sink += n
			}
		})
	}
}

func BenchmarkNotify(b *testing.B) {
	m, err := mediator.New(&mediator.Options{Policy: mediator.InOrder}, mediator.OnNotification(onRenamed), mediator.OnNotification(onRenamed), mediator.OnNotification(onRenamed))
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := mediator.Publish(ctx, m, renamed{ID: ids[i%64], From: ids[(i+1)%64], To: ids[(i+2)%64]}); err != nil {
			b.Fatal(err)
		}
	}
}
