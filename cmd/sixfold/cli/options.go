package cli

import (
	"context"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/saga"
)

// An Option tells Main what a program knows that sixfold alone cannot: its sagas and its messages.
//
//	func main() {
//		// Open the database and make the sagas as the service does, then:
//		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, cli.Sagas(fulfilment), cli.Routes("orders", fulfilment.Routes()...)))
//	}
type Option func(*app)

// Saga is what *saga.Saga and *flow.Flow have in common.
type Saga interface {
	Name() string
	// Schemas are the oldest and the newest version of the state that it reads.
	Schemas() (oldest, newest int)
}

// Flow is a Saga that people can steer: *flow.Flow is one. What it does is done in a transaction of its own database.
type Flow interface {
	Saga
	Cancel(ctx context.Context, key, who string) error
	Retry(ctx context.Context, key, step, who string) error
	Resume(ctx context.Context, key, step, who string) error
	// At says at which steps an instance is, and Graph draws them with the number of instances at each.
	At(in *saga.Instance) ([]string, error)
	Graph(at map[string]int64) string
}

// Sagas makes sagas and flows known, for the commands of "sixfold saga" that need more than what is stored, and for "sixfold check".
func Sagas(sagas ...Saga) Option {
	return func(a *app) { a.sagas = append(a.sagas, sagas...) }
}

// Routes makes known which messages a consumer handles, for "sixfold check".
func Routes(consumer string, routes ...sixfold.Route) Option {
	return func(a *app) {
		if a.routes == nil {
			a.routes = make(map[string][]sixfold.Route)
		}
		a.routes[consumer] = append(a.routes[consumer], routes...)
	}
}

// saga answers one that was made known; nil: it was not.
func (a *app) saga(name string) Saga {
	for _, s := range a.sagas {
		if s.Name() == name {
			return s
		}
	}
	return nil
}
