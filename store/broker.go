package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
)

// Broker is the database as a broker: topics, the groups that want their messages, and a row for each message and
// group. It satisfies sqlqueue.Store. It is safe for concurrent use.
type Broker struct {
	tables  brokerTables
	leases  outbox.Leases
	passing func(error) bool
	bell    *outbox.Bell
	maxBody int
}

// kinds of groups, as the tables have them.
const (
	groupKind = 1
	copyKind  = 2 // for one process
	keptKind  = 3 // what groups that come later begin with
)

// brokerTables are the statements of a dialect. Errors are as failed makes them.
type brokerTables interface {
	send(ctx context.Context, rows []outbox.Row) (missing []string, err error)
	attach(ctx context.Context, topic, name string, kind int, fromKept bool, withID int64) (int64, error)
	detach(ctx context.Context, topic, name string, kind int) (bool, error)
	keep(ctx context.Context, topic string, keep time.Duration) error
	read(ctx context.Context, class, after int64, limit int, own outbox.Ownership) ([]outbox.Row, error)
	settle(ctx context.Context, class int64, node string, seqs []int64) (int, error)
	take(ctx context.Context, class int64, leaseClass, node string, n int) ([]outbox.Lease, error)
	groups(ctx context.Context) ([]BrokerGroup, error)
	empty(ctx context.Context, class int64, limit int) (int, error)
	Purge(ctx context.Context, limit int) (int, error)
	Check(ctx context.Context) (warnings []string, err error)
}

// Broker of the store. Always the same one.
func (s *Store) Broker() *Broker { return s.broker }

// Err says that there is no broker, for constructors that take one.
func (b *Broker) Err() error {
	if b == nil {
		return errors.New("store: the broker is nil; pass what Store.Broker answers")
	}
	return nil
}

// newBroker makes the broker of a store.
func newBroker(s *Store, t brokerTables) *Broker {
	return &Broker{tables: t, leases: s.outbox.leases, passing: s.inbox.Passing, bell: s.outbox.Bell(outbox.ToLocal)}
}

// MaxBody is how many bytes body and headers of a message may have together, where the database takes less than others do;
// 0: nothing special.
func (b *Broker) MaxBody() int { return b.maxBody }

// marked marks errors as the contract of bus has them: what passes is an outage, and what the database does not let this
// role do is refused.
func (b *Broker) marked(err error) error {
	switch state := sqlState(err); {
	case err == nil:
		return nil
	case state == "42501", state == "0A000", strings.HasPrefix(state, "28"), myForbidden(err), errors.Is(err, ErrSchema):
		return fmt.Errorf("%w: %w", bus.ErrRefused, err)
	case b.passing(err):
		return fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
	}
	return err
}

// Send writes rows, of which Class says nothing and Topic where they go, for every group of their topics, in their order,
// in one statement (more beyond 16 MB, in one transaction). Topics that nobody wants come back, and then nothing was written. Rows of one topic become visible in the order in which they are numbered, whoever sends.
func (b *Broker) Send(ctx context.Context, rows []outbox.Row) (missing []string, err error) {
	missing, err = b.tables.send(ctx, rows)
	if err == nil && len(missing) == 0 {
		b.bell.Ring(outbox.Now)
	}
	return missing, b.marked(err)
}

// Attach enters a group of a topic, or finds it, and answers its rows as a store with one class. Without a name it is a
// copy for this process, which goes when nobody has beaten for it for a minute. fromKept: a group that is new begins with
// what the topic keeps, otherwise with what is sent from now on.
func (b *Broker) Attach(ctx context.Context, topic, group, process string, fromKept bool) (st outbox.Store, class string, err error) {
	kind, name := groupKind, group
	if group == "" {
		kind, name, fromKept = copyKind, process, false
	}
	if kind == groupKind && !strings.HasSuffix(topic, bus.DeadSuffix) { // a place for the dead letters of consumers without a database
		if _, err := b.tables.attach(ctx, topic+bus.DeadSuffix, "", keptKind, false, 0); err != nil {
			return nil, "", b.marked(err)
		}
	}
	id, err := b.tables.attach(ctx, topic, name, kind, fromKept, 0)
	if err != nil {
		return nil, "", b.marked(err)
	}
	p := &brokerPart{broker: b, topic: topic, name: name, kind: kind, id: id, class: "queue/" + strconv.FormatInt(id, 10)}
	return p, p.class, nil
}

// Detach removes a group, or the copy of a process, with what waits for it. The rows go with the next purges, in small
// steps. It reports whether it was there.
func (b *Broker) Detach(ctx context.Context, topic, group, process string) (bool, error) {
	kind, name := groupKind, group
	if group == "" {
		kind, name = copyKind, process
	}
	found, err := b.tables.detach(ctx, topic, name, kind)
	return found, b.marked(err)
}

// Keep keeps what is sent to a topic from now on for groups that come later, for so long; 0: no longer.
func (b *Broker) Keep(ctx context.Context, topic string, keep time.Duration) error {
	if keep < 0 || keep > 0 && keep < time.Microsecond {
		return fmt.Errorf("store: keep %s: for %v; give at least a microsecond, or 0 to keep nothing", quoteCut(topic), keep)
	}
	return b.marked(b.tables.keep(ctx, topic, keep))
}

// Check looks whether this program may use these tables, and whether the database loses what was committed.
func (b *Broker) Check(ctx context.Context) (warnings []string, err error) {
	warnings, err = b.tables.Check(ctx)
	return warnings, b.marked(err)
}

// BrokerGroup is one group of a topic, for people.
type BrokerGroup struct {
	Topic, Name string // the name of a copy is of its process
	Copy        bool
	Kept        bool          // not a group: what is kept of the topic
	Keep        time.Duration // how long, of what is kept
	Leaving     bool          // is being removed
	Pending     int64         // rows
	Oldest      time.Duration // age of the oldest row by the database's clock
	Nodes       int           // processes that consume it now

	id int64
}

// Groups lists what there is, by topic and name. It counts every row.
func (b *Broker) Groups(ctx context.Context) ([]BrokerGroup, error) {
	gs, err := b.tables.groups(ctx)
	return gs, b.marked(err)
}

// Peek answers the first rows that wait for a group, at most limit, with their topic, and takes none away.
func (b *Broker) Peek(ctx context.Context, g BrokerGroup, limit int) ([]outbox.Row, error) {
	var all outbox.Ownership
	for p := range all.Partitions {
		all.Partitions[p] = true
	}
	rows, err := b.tables.read(ctx, g.id, 0, limit, all)
	for i := range rows {
		rows[i].Topic = g.Topic
	}
	return rows, b.marked(err)
}

// Empty removes at most limit rows that wait for a group, the oldest first, and answers how many it removed. What is
// with a consumer goes as well, unless its handler has ended.
func (b *Broker) Empty(ctx context.Context, g BrokerGroup, limit int) (int, error) {
	n, err := b.tables.empty(ctx, g.id, limit)
	return n, b.marked(err)
}

// brokerPart is one group of one topic as an outbox.Store, whose only table is ToLocal.
type brokerPart struct {
	broker      *Broker
	topic, name string
	kind        int
	id          int64
	class       string
	joined      atomic.Bool // the group was entered a moment ago, so that the first Join needs not
}

// Writer implements outbox.Store. There is none: Broker.Send writes.
func (p *brokerPart) Writer() outbox.Writer { return nil }

// Queue implements outbox.Store.
func (p *brokerPart) Queue(outbox.Table) outbox.Queue { return brokerQueue{p} }

// Leases implements outbox.Store.
func (p *brokerPart) Leases() outbox.Leases { return brokerLeases{p.broker.leases, p} }

// Keeper implements outbox.Store.
func (p *brokerPart) Keeper() outbox.Keeper { return brokerKeeper{p.broker} }

// Bell implements outbox.Store. It is that of the local table, which package postgres tells other processes of: one more
// look by who consumes the other of the two is cheaper than a bell of its own.
func (p *brokerPart) Bell(outbox.Table) *outbox.Bell { return p.broker.bell }
