package memory

import (
	"bytes"
	"maps"
	"slices"

	"github.com/sixfold-go/sixfold"
)

// A message is one envelope that the broker took, shared by the queues that it went to.
type message struct {
	env   sixfold.Envelope
	topic *topic
	seq   uint64 // grows within the topic
	refs  int    // queues that have not settled it
}

// copyEnvelope copies what travels: the attributes, and bytes of its own, since the sender may use its envelope again
// once it has the confirm. What a mediator carries beside them stays behind, as on any broker.
func copyEnvelope(e *sixfold.Envelope) sixfold.Envelope {
	return sixfold.Envelope{
		ID:            e.ID,
		Source:        e.Source,
		Type:          e.Type,
		Subject:       e.Subject,
		Key:           e.Key,
		Time:          e.Time,
		ContentType:   e.ContentType,
		CorrelationID: e.CorrelationID,
		CausationID:   e.CausationID,
		TraceParent:   e.TraceParent,
		TraceState:    e.TraceState,
		Expires:       e.Expires,
		ReplyTo:       e.ReplyTo,
		Sequence:      e.Sequence,
		Headers:       maps.Clone(e.Headers),
		Body:          bytes.Clone(e.Body),
	}
}

// size counts what MaxBody limits.
func size(e *sixfold.Envelope) int {
	n := len(e.Body)
	for k, v := range e.Headers {
		n += len(k) + len(v)
	}
	return n
}

// A topic spreads messages over its queues: one per group, one per copy.
type topic struct {
	t        *Transport
	name     string
	declared bool
	queues   []*queue
	groups   map[string]*queue
	early    *queue        // what was sent to a declared topic before its first group
	seq      uint64        // of the newest message
	pending  int           // messages with refs
	room     chan struct{} // closed when there is room again; nil: nobody waits
}

func (tp *topic) declare() {
	tp.declared = true
	if len(tp.groups) == 0 && tp.early == nil {
		tp.early = newQueue(tp, "", false)
		tp.queues = append(tp.queues, tp.early)
	}
}

// queue answers the queue of a group, or a new one for a copy.
func (tp *topic) queue(group string, ordered bool) *queue {
	if group == "" {
		q := newQueue(tp, "", ordered)
		tp.queues = append(tp.queues, q)
		return q
	}
	q := tp.groups[group]
	switch {
	case q != nil:
	case tp.early != nil:
		q, tp.early = tp.early, nil
		q.group = group
		tp.groups[group] = q
	default:
		q = newQueue(tp, group, ordered)
		tp.queues = append(tp.queues, q)
		tp.groups[group] = q
	}
	if len(q.members) == 0 {
		q.setOrdered(ordered)
	}
	return q
}

// exists reports whether a message for the topic has somewhere to go.
func (tp *topic) exists() bool { return tp.declared || len(tp.queues) > 0 }

// add hands a message to every queue.
func (tp *topic) add(m *message) {
	tp.seq++
	m.topic, m.seq, m.refs = tp, tp.seq, len(tp.queues)
	tp.pending++
	for _, q := range tp.queues {
		q.push(m)
	}
}

// done says that one queue needs the message no more.
func (m *message) done() {
	if m.refs--; m.refs > 0 {
		return
	}
	m.env = sixfold.Envelope{} // its neighbours of one allocation may live longer
	tp := m.topic
	tp.pending--
	if tp.room != nil && tp.pending < tp.t.maxPending {
		close(tp.room)
		tp.room = nil
	}
}

// wait answers a channel that is closed when the topic may have room.
func (tp *topic) wait() <-chan struct{} {
	if tp.room == nil {
		tp.room = make(chan struct{})
	}
	return tp.room
}

// drop removes a queue with all that it holds.
func (tp *topic) drop(q *queue) {
	tp.queues = slices.DeleteFunc(tp.queues, func(o *queue) bool { return o == q })
	if q.group != "" {
		delete(tp.groups, q.group)
	}
	q.discard()
	if tp.declared {
		tp.declare() // the next first group finds what is sent from now on
	}
	if !tp.exists() && tp.t.topics[tp.name] == tp {
		delete(tp.t.topics, tp.name)
	}
	if tp.room != nil { // a blocked Send looks again: its topic may be another one, or none
		close(tp.room)
		tp.room = nil
	}
}
