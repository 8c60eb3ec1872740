package memory_test

import (
	"context"
	"errors"
	"sync"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// mortal is one process's view of a lane, which can end without closing anything.
type mortal struct {
	*memory.RequestLane

	mu   sync.Mutex
	dead bool
	ears []request.Ear
}

var errDead = errors.Join(errors.New("this process is dead"), bus.ErrUnavailable)

func (m *mortal) Listen(ctx context.Context, destinations []string, in request.Requests) (request.Ear, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return nil, errDead
	}
	ear, err := m.RequestLane.Listen(ctx, destinations, in)
	if err != nil {
		return nil, err
	}
	m.ears = append(m.ears, ear)
	return &mortalEar{ear, m}, nil
}

// die makes the lane forget the process's ears and swallows what they still say.
func (m *mortal) die() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	for _, e := range m.ears {
		_ = e.StopListening(context.Background())
	}
}

type mortalEar struct {
	request.Ear
	m *mortal
}

func (e *mortalEar) Answer(ctx context.Context, asked, reply *request.Packet) error {
	e.m.mu.Lock()
	dead := e.m.dead
	e.m.mu.Unlock()
	if dead {
		return errDead
	}
	return e.Ear.Answer(ctx, asked, reply)
}
