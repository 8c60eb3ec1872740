// Package pass knows how far one call has come through a chain of middleware, so that nobody runs what is below it twice.
package pass

import "sync/atomic"

// A Chain is the identity of a composed chain.
type Chain struct{ _ byte } // not empty: pointers to empty values may be equal

// A Pass is one call's way through one chain. The zero value belongs to no chain yet. It is safe for concurrent use.
//
// Number i of at is the one layer that may be entered now. The negative -(i+1) says that layer i was entered and left, so
// that nothing may be entered until Again is called; while layer i runs, at has gone on to the layers below it.
type Pass struct {
	chain atomic.Pointer[Chain]
	at    atomic.Int32
}

// Take makes the pass one through c, unless it has a chain already.
func (p *Pass) Take(c *Chain) bool { return p.chain.CompareAndSwap(nil, c) }

// Through reports whether the pass is one through c.
func (p *Pass) Through(c *Chain) bool { return p.chain.Load() == c }

// Enter enters layer i, and reports false when it was entered before or is not the next one.
func (p *Pass) Enter(i int32) bool { return p.at.CompareAndSwap(i, i+1) }

// Leave leaves layer i.
func (p *Pass) Leave(i int32) { p.at.Store(-i - 1) }

// Again allows the layer that was left last to be entered once more. It changes nothing while that one still runs.
func (p *Pass) Again() {
	if at := p.at.Load(); at < 0 {
		p.at.CompareAndSwap(at, -at-1)
	}
}
