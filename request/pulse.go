package request

import (
	"context"
	"sync"
	"time"
)

// What both sides of a stream do so that neither waits for one that has died: each says something at least every pulseEvery, and takes
// the other for dead after silence. docs/protocol.md has both.
const (
	pulseEvery = 15 * time.Second
	silence    = 50 * time.Second
)

// pulse calls a function again and again until it is stopped. The function does not run any more once stop has returned.
type pulse struct {
	beat   func(ctx context.Context)
	cancel context.CancelFunc

	mu   sync.Mutex // held while beat runs
	over bool
	t    *time.Timer
}

func startPulse(ctx context.Context, beat func(ctx context.Context)) *pulse {
	p := &pulse{beat: beat}
	ctx, p.cancel = context.WithCancel(ctx)
	p.mu.Lock() // run could be quicker than the assignment
	defer p.mu.Unlock()
	p.t = time.AfterFunc(pulseEvery, func() { p.run(ctx) })
	return p
}

func (p *pulse) run(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.beat(ctx)
	p.t.Reset(pulseEvery)
}

// stop ends the context of a beat that is under way, and waits for it. It is not called by beat.
func (p *pulse) stop() {
	p.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.t.Stop()
}
