package store

import (
	"context"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// puts are rows on their way into the table of requests. Those that come while a transaction runs go together in the next one, so
// that a burst of calls costs few of them, and waits for each other here and not for locks. The goroutine that writes
// lives while there is something to write.
type puts struct {
	mu      sync.Mutex
	waiting []*put
	busy    bool
}

// put is one call of Put.
type put struct {
	ctx        context.Context
	address    string
	all        bool
	head, body []byte
	keep       time.Duration
	n          int
	err        error
	done       chan struct{} // closed when n and err are set
}

const (
	// putRows is how many calls go into one transaction.
	putRows = 64
	// putLimit bounds one, whatever its callers wait for.
	putLimit = 10 * time.Second
)

// Put writes a row to an address if anybody listens there, or if all is set one to each place that does, and answers how many
// it wrote. It returns when ctx ends, also where the database has not answered yet.
func (r *Requests) Put(ctx context.Context, address string, all bool, head, body []byte, keep time.Duration) (n int, err error) {
	p := &put{ctx: ctx, address: address, all: all, head: head, body: body, keep: keep, done: make(chan struct{})}
	r.puts.mu.Lock()
	r.puts.waiting = append(r.puts.waiting, p)
	if !r.puts.busy {
		r.puts.busy = true
		go r.write()
	}
	r.puts.mu.Unlock()
	select {
	case <-p.done:
		if p.n == 0 && p.err == nil && ctx.Err() != nil { // it was left out
			return 0, ctx.Err()
		}
		return p.n, r.marked(failed("send to "+quoteCut(address), p.err))
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// write writes what waits until nothing does.
func (r *Requests) write() {
	for {
		r.puts.mu.Lock()
		n := min(len(r.puts.waiting), putRows)
		ps := r.puts.waiting[:n:n]
		if r.puts.waiting = r.puts.waiting[n:]; n == 0 {
			r.puts.waiting, r.puts.busy = nil, false
		}
		r.puts.mu.Unlock()
		if n == 0 {
			return
		}
		unwritten, err := r.together(ps)
		for _, p := range ps {
			if p.err = err; unwritten && len(ps) > 1 { // whose fault it is shows by itself
				_, p.err = r.together([]*put{p})
			}
			close(p.done)
		}
	}
}

// together writes rows in one transaction. Those whose callers have gone are left out. After an error unwritten says that it came
// before the commit: then, and only then, they can be written again, since a request that is there twice would run twice.
func (r *Requests) together(ps []*put) (unwritten bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ps[0].ctx), putLimit)
	defer cancel()
	total := 0
	err = r.db.InTx(ctx, func(tx sqltx.Tx) error {
		total, unwritten = 0, true // the library may run this again
		for _, p := range ps {
			p.n = 0
			if p.ctx.Err() != nil {
				continue
			}
			if err := r.insert(ctx, tx, p); err != nil {
				return err
			}
			total += p.n
		}
		unwritten = false
		return nil
	})
	if err == nil && total > 0 {
		r.bell.Ring(outbox.Now)
	}
	return unwritten && err != nil, err
}

// insert writes the rows of one call.
func (r *Requests) insert(ctx context.Context, tx sqltx.Tx, p *put) error {
	var to []string
	var err error
	if p.all {
		err = r.each(ctx, tx, r.places, func(row sqltx.Rows) error {
			var place string
			err := row.Scan(&place)
			to = append(to, place)
			return err
		}, p.address)
	} else {
		err = r.each(ctx, tx, r.listens, func(sqltx.Rows) error {
			to = []string{p.address}
			return nil
		}, p.address)
	}
	var value any // a nil []byte is an empty one to some drivers
	if p.body != nil {
		value = p.body
	}
	for _, one := range to {
		if err != nil {
			break
		}
		_, err = r.exec(ctx, tx, r.put, one, p.head, value, p.keep.Microseconds())
		p.n++
	}
	return err
}
