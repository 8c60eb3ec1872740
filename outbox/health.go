package outbox

import (
	"maps"
	"slices"
)

// Health is what a relay says about itself. What the tables hold is Keeper.Stats: ask both, since a relay that does
// nothing sees nothing wrong.
type Health struct {
	Classes []ClassHealth
}

// ClassHealth of one class of destination.
type ClassHealth struct {
	Class      string
	Node       string           // of this incarnation; empty before the first lease
	Partitions int              // held
	InFlight   int              // rows sent and not settled
	Down       error            // why the broker cannot be reached; nil: it can, as far as is known
	Blocked    []FailedRow      // rows that the broker does not take
	Missed     map[string]int64 // rows that found no place and may miss, by message type
}

// Health answers at once. Safe for concurrent use.
func (r *Relay) Health() Health {
	var h Health
	for _, p := range r.pumps {
		p.mu.Lock()
		h.Classes = append(h.Classes, ClassHealth{Class: p.class, Node: p.node, Partitions: p.held, InFlight: p.inFlight, Down: p.down,
			Blocked: p.blocks.list(), Missed: maps.Clone(p.misses)})
		p.mu.Unlock()
	}
	return h
}

// Blocked lists the rows that the brokers do not take, by seq. Safe for concurrent use.
func (r *Relay) Blocked() []FailedRow {
	var out []FailedRow
	for _, c := range r.Health().Classes {
		out = append(out, c.Blocked...)
	}
	slices.SortFunc(out, func(a, b FailedRow) int { return int(a.Seq - b.Seq) })
	return out
}
