package mediator

import (
	"context"

	"github.com/sixfold-go/sixfold"
)

// CommandRoute makes a consumer's route that sends the commands that it receives through m. Nobody is there to take the
// result. The consumer refuses the route when m has no handler for it. The value of like does not matter, only its type.
func CommandRoute[C sixfold.Command[R], R any](m *Mediator, like C) sixfold.Route {
	_ = like
	r := sixfold.On(func(ctx context.Context, c C) error {
		_, err := Send(ctx, m, c)
		return err
	})
	if m == nil || !has(m, any((*C)(nil)), command) {
		return r.Refuse(missing[C](m, command))
	}
	return r
}

// NotificationRoute makes a consumer's route that publishes the notifications that it receives through m. When one handler
// fails, the message is retried with all of them, those that had succeeded as well. The consumer refuses the route when m
// has no handler for it. The value of like does not matter, only its type.
func NotificationRoute[N sixfold.Message](m *Mediator, like N, how ...Policy) sixfold.Route {
	_ = like
	r := sixfold.On(func(ctx context.Context, n N) error { return Publish(ctx, m, n, how...) })
	if m == nil || !has(m, any((*N)(nil)), notification) {
		return r.Refuse(missing[N](m, notification))
	}
	return r
}

func has(m *Mediator, key any, k kind) bool {
	for _, e := range m.names {
		if e.key == key {
			return e.kind == k
		}
	}
	return false
}
