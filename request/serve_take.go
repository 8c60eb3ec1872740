package request

import (
	"context"
	"strconv"
	"time"

	"github.com/sixfold-go/sixfold"
)

// jobKey names a request: ids are unique for a caller only.
type jobKey struct{ replyTo, request string }

// job is a request that waits for a handler or has one. A handler may keep its context and its envelope, which are in here, so that a
// job is never used again; the packet is.
type job struct {
	serving
	envelope    sixfold.Envelope // of the request
	key         jobKey
	from        *hearing
	destination string
	request     *Packet
	entry       *entry
	issuer      string // who has signed it
}

// take looks at what came to a destination. What has no place for an answer, or no id, is dropped; then the version, the
// payload and the deadline are checked, in that order.
func (r *Responder) take(from *hearing, handlers context.Context, destination string, p *Packet) {
	now := time.Now()
	kind, version, ok := p.kind()
	switch {
	case p.ReplyTo == "" || !isID(p.Request) || !ok || kind == KindReply || kind == KindItem || kind == KindAlive:
		r.count(&r.stats.Dropped)
		return
	case kind == KindCredit:
		r.takeCredit(p)
		return
	case kind == KindCancel:
		r.takeCancel(p)
		return
	case version != Version:
		r.refuse(from, p, Unsupported)
		return
	case p.Damaged != nil:
		r.refuse(from, p, Malformed)
		return
	}
	issuer, ok := r.proves(p, destination)
	if !ok {
		r.refuse(from, p, Unauthorised)
		return
	}
	e := r.routes[p.Envelope.Type]
	streams := kind == KindRequest && p.Number != ""
	if e == nil || e.stream != streams {
		r.refuse(from, p, Unsupported)
		return
	}
	deadline, ok := deadlineOf(p, now, r.o.MaxSkew)
	credit := 0
	if ok && streams {
		credit, ok = digits(p.Number)
		ok = ok && credit > 0
	}
	if !ok {
		r.refuse(from, p, Malformed)
		return
	}
	if !deadline.After(now) {
		r.count(&r.stats.Expired)
		r.refuse(from, p, Expired)
		return
	}
	j := &job{key: jobKey{p.ReplyTo, p.Request}, from: from, destination: destination, request: p, entry: e, issuer: issuer, envelope: p.Envelope}
	j.envelope.SetIssuer(issuer)
	j.Context, j.deadline = handlers, deadline
	if streams {
		j.out = newOutflow(r, j, credit)
	}
	r.enqueue(j)
}

// enqueue lets a job run, or wait, or refuses it.
func (r *Responder) enqueue(j *job) {
	r.mu.Lock()
	switch {
	case r.jobs[j.key] != nil:
		r.stats.Duplicate++
		r.mu.Unlock()
		return
	case r.stopping:
		r.mu.Unlock()
		r.refuse(j.from, j.request, Unavailable)
		return
	case r.running+r.queue.n < r.o.MaxConcurrent+r.o.MaxWaiting:
		r.jobs[j.key] = j
		r.queue.push(j)
		r.wake()
		r.mu.Unlock()
		return
	}
	r.stats.Full++
	r.mu.Unlock()
	r.refuse(j.from, j.request, Unavailable)
}

// wake has a worker come for what waits, unless one is on its way or all handlers that may run do: whoever comes wakes
// the next before it runs what it has taken, and whoever has run something takes the next itself. So a burst of short requests costs one
// or two changes of goroutine and not one each. mu is held.
func (r *Responder) wake() {
	if r.waking || r.queue.n == 0 || r.running >= r.o.MaxConcurrent {
		return
	}
	r.waking = true
	if r.asleep > 0 {
		r.asleep--
		r.bell <- struct{}{}
	} else {
		r.workers.Go(r.work)
	}
}

// work runs jobs until the responder stops. Where a handler ends its goroutine, another one goes on.
func (r *Responder) work() {
	var j *job // that runs
	defer func() {
		if j == nil {
			return
		}
		r.o.Logger.Error("request: a handler ended its goroutine (runtime.Goexit); let it return an error instead", "request", j.request.Request)
		j.end()
		r.refuse(j.from, j.request, Internal)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.over(j)
		r.wake()
	}()
	r.mu.Lock()
	r.waking = false
	for {
		for next := r.queue.pop(); next != nil; next = r.queue.pop() {
			j = next
			r.running++
			r.wake()
			r.mu.Unlock()
			r.run(j)
			r.mu.Lock()
			r.over(j)
			j = nil
		}
		if r.stopping {
			break
		}
		r.asleep++
		r.mu.Unlock()
		_, rung := <-r.bell
		r.mu.Lock()
		if !rung {
			break
		}
		r.waking = false
	}
	r.mu.Unlock()
}

// over takes out a job that has run. mu is held.
func (r *Responder) over(j *job) {
	delete(r.jobs, j.key)
	r.running--
	if r.stopping && r.running == 0 && r.queue.n == 0 {
		close(r.idle)
	}
}

// cancel ends the context of a request, or takes it out of those that wait when its turn comes.
func (r *Responder) cancel(key jobKey, issuer string) {
	r.mu.Lock()
	j := r.jobs[key]
	if j == nil || j.cancelled.Load() || j.issuer != issuer {
		r.mu.Unlock()
		return
	}
	j.cancelled.Store(true)
	r.stats.Cancelled++
	r.mu.Unlock()
	j.end()
}

func (r *Responder) count(n *uint64) {
	r.mu.Lock()
	*n++
	r.mu.Unlock()
}

// refuse has a fault sent. When too many of them wait already the caller gets none.
func (r *Responder) refuse(from *hearing, request *Packet, c Category) {
	select {
	case r.refused <- refusal{from, request, c}:
	default:
		r.count(&r.stats.Unsent)
	}
}

// fault is the reply for a category. It has the same form in all versions of the protocol.
func fault(source string, c Category) *Packet {
	p := &Packet{Status: string(c)}
	p.Envelope = sixfold.Envelope{ID: sixfold.NewID(), Source: source, Type: FaultType}
	if c == Unsupported {
		p.Versions = strconv.Itoa(Version)
	}
	return p
}

// queue is a first-in-first-out of jobs. It grows as far as the responder lets it.
type queue struct {
	ring []*job
	from int
	n    int
}

func (q *queue) push(j *job) {
	if q.n == len(q.ring) {
		ring := make([]*job, max(16, 2*q.n))
		for i := range q.n {
			ring[i] = q.ring[(q.from+i)%len(q.ring)]
		}
		q.ring, q.from = ring, 0
	}
	q.ring[(q.from+q.n)%len(q.ring)] = j
	q.n++
}

// pop answers nil when there is none.
func (q *queue) pop() *job {
	if q.n == 0 {
		return nil
	}
	j := q.ring[q.from]
	q.ring[q.from] = nil
	q.from = (q.from + 1) % len(q.ring)
	q.n--
	return j
}

// cut takes out all but the first keep.
func (q *queue) cut(keep int) []*job {
	var all []*job
	for j := q.pop(); j != nil; j = q.pop() {
		all = append(all, j)
	}
	keep = min(keep, len(all))
	for _, j := range all[:keep] {
		q.push(j)
	}
	return all[keep:]
}
