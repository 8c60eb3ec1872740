package request

import (
	"context"
	"sync"
	"time"
)

// What both sides of a stream do so that neither waits for one that has died: each says something at least every pulseEvery, and the responder takes
// the caller for dead after silence. A caller that hears nothing asks, and takes the responder for dead after ClientOptions.Silence.
// docs/protocol.md has it.
const (
	pulseEvery = 15 * time.Second
	silence    = 50 * time.Second
)

// pulse calls a function again and again until it is stopped. The function does not run any more once stop has returned.
type pulse struct {
	beat   func(ctx context.Context)
	every  time.Duration
	cancel context.CancelFunc

	mu   sync.Mutex // held while beat runs
	over bool

	setting sync.Mutex // guards what follows; taken last
	asked   bool       // a beat is to come at once
	t       *time.Timer
}

func startPulse(ctx context.Context, every time.Duration, beat func(ctx context.Context)) *pulse {
	p := &pulse{beat: beat, every: every}
	ctx, p.cancel = context.WithCancel(ctx)
	p.setting.Lock() // run could be quicker than the assignment
	defer p.setting.Unlock()
	p.t = time.AfterFunc(every, func() { p.run(ctx) })
	return p
}

func (p *pulse) run(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	p.setting.Lock()
	p.asked = false
	p.setting.Unlock()
	p.beat(ctx)
	p.setting.Lock()
	defer p.setting.Unlock()
	if !p.asked {
		p.t.Reset(p.every)
	}
}

// soon has a beat come at once, and does not wait for it. However often it is called, one more waits at most.
func (p *pulse) soon() {
	p.setting.Lock()
	defer p.setting.Unlock()
	if !p.asked {
		p.asked = true
		p.t.Reset(0)
	}
}

// stop ends the context of a beat that is under way, and waits for it. It is not called by beat.
func (p *pulse) stop() {
	p.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.setting.Lock()
	defer p.setting.Unlock()
	p.t.Stop()
}
