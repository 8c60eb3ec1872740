// Package pass knows how far one call has come through a chain of middleware, so that nobody runs what is below it twice.
package pass

import "sync/atomic"

// A Chain is the identity of a composed chain.
type Chain struct{ _ byte } // not empty: pointers to empty values may be equal

// A Pass is one call's way through one chain. The zero value belongs to no chain yet; who makes one calls its chain before
// anybody else can see it. After that it is safe for concurrent use.
type Pass struct {
	chain *Chain
	at    atomic.Int32 // the one layer that may be entered now
}

// Take makes the pass one through c, unless it has a chain already.
func (p *Pass) Take(c *Chain) bool {
	if p.chain != nil {
		return false
	}
	p.chain = c
	return true
}

// Through reports whether the pass is one through c.
func (p *Pass) Through(c *Chain) bool { return p.chain == c }

// Enter enters layer i, and reports false when it was entered before or is not the next one.
func (p *Pass) Enter(i int32) bool { return p.at.CompareAndSwap(i, i+1) }

// At is the layer that may be entered now.
func (p *Pass) At() int32 { return p.at.Load() }

// Back allows layer i, which was left, to be entered again.
func (p *Pass) Back(i int32) { p.at.Store(i) }
