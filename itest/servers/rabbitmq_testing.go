package servers

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// sharedRabbit is the one RabbitMQ node of a test process: starting one takes seconds, and names of a test's own separate
// it well enough.
var sharedRabbit struct {
	sync.Mutex
	server *RabbitMQServer
	err    error
}

// RabbitMQ returns the RabbitMQ node that all tests of this process share, running: it starts the node at the first call,
// and again if a test stopped it. [Main] ends it. Where the machine cannot run one, t is skipped, or fails with
// SIXFOLD_REQUIRE=1. A test that stops the node, and does not run alone, takes [PrivateRabbitMQ].
func RabbitMQ(t testing.TB) *RabbitMQServer {
	t.Helper()
	long(t, "RabbitMQ")
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	sharedRabbit.Lock()
	defer sharedRabbit.Unlock()
	switch {
	case sharedRabbit.err != nil: // as before
	case sharedRabbit.server == nil:
		sharedRabbit.server, sharedRabbit.err = StartRabbitMQ(ctx, nil)
	default:
		if err := sharedRabbit.server.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if sharedRabbit.err != nil {
		giveUp(t, sharedRabbit.err)
	}
	return sharedRabbit.server
}

// stopSharedRabbitMQ ends the shared node.
func stopSharedRabbitMQ() error {
	sharedRabbit.Lock()
	defer sharedRabbit.Unlock()
	if sharedRabbit.server == nil {
		return nil
	}
	err := sharedRabbit.server.Close()
	sharedRabbit.server, sharedRabbit.err = nil, errors.New("servers: the shared RabbitMQ node was ended by Main; start it in a test")
	return err
}

// PrivateRabbitMQ starts a RabbitMQ node for this test alone, and closes it when the test ends.
func PrivateRabbitMQ(t testing.TB, o *RabbitMQOptions) *RabbitMQServer {
	t.Helper()
	long(t, "RabbitMQ")
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	r, err := StartRabbitMQ(ctx, o)
	if err != nil {
		giveUp(t, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of RabbitMQ ends with:\n%s", r.Log())
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}
