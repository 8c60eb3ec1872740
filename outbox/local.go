package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/sqltx"
)

// LocalOptions tunes a Local. The zero value is ready to use.
type LocalOptions struct {
	// Lease bounds how long others wait before they take over from a process that died. Default 10 s, at least 200 ms.
	Lease time.Duration
	// Batch is the most rows of one read. Default 1,000.
	Batch int
	// Poll is the longest time between two looks at the table when nothing tells of new rows. Default 1 s.
	Poll time.Duration
	// Sweep is the time between two reads from the start, as for a relay. Default 1 min.
	Sweep time.Duration
	// Logger; nil is slog.Default().
	Logger *slog.Logger
}

// Local makes the database itself the transport: a bus.Consumer of the same database handles rows that ToConsumer put
// there, with no broker in between. The name (group) of the consumer is the destination; a Subscription has no topics.
// A handler of package inbox removes the row in its own transaction, and that is its record: nothing is written twice.
//
// As a Sender, a Local takes what a relay of another database brings for the consumers here: the topic is the
// consumer's name.
type Local struct {
	store Store
	db    sqltx.Runner
	opts  LocalOptions
	log   *slog.Logger
}

// NewLocal makes the Local of a database. It reports every problem at once.
func NewLocal(st Store, db sqltx.Runner, opts *LocalOptions) (*Local, error) {
	l := &Local{store: st, db: db}
	if opts != nil {
		l.opts = *opts
	}
	var errs []error
	if st == nil {
		errs = append(errs, errors.New("outbox: local: the store is nil; pass store.Postgres(…).Outbox() or that of another database"))
	}
	if db == nil {
		errs = append(errs, fmt.Errorf("outbox: local: %w", sqltx.ErrNoDB))
	} else if d, ok := db.(interface{ Err() error }); ok && d.Err() != nil {
		errs = append(errs, fmt.Errorf("outbox: local: %w", d.Err()))
	}
	o := RelayOptions{Lease: l.opts.Lease, Batch: l.opts.Batch, Poll: l.opts.Poll, Sweep: l.opts.Sweep, Logger: l.opts.Logger}
	errs = append(errs, o.defaults("local"))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	l.opts = LocalOptions{Lease: o.Lease, Batch: o.Batch, Poll: o.Poll, Sweep: o.Sweep, Logger: o.Logger}
	l.log = o.Logger
	return l, nil
}

// maxLocal bounds what a relay may bring in one row, in bytes.
const maxLocal = 16 << 20

// Capabilities implements bus.Transport.
func (l *Local) Capabilities() bus.Capabilities {
	return bus.Capabilities{Name: "local", OrderPerKey: true, PrefixPerKey: true, Confirms: true, MaxBody: maxLocal}
}

// Close implements bus.Transport; a Local holds nothing.
func (l *Local) Close(context.Context) error { return nil }

// Open implements bus.Transport.
func (l *Local) Open(context.Context) (bus.Sender, error) { return &localSender{local: l}, nil }

// Subscribe implements bus.Transport. It takes the partitions of the consumer's class in fair shares with other processes
// of the same group.
func (l *Local) Subscribe(ctx context.Context, s bus.Subscription) (bus.Source, error) {
	switch {
	case s.Group == "":
		return nil, fmt.Errorf("outbox: local: %w: a subscription without a group; name the consumer, as outbox.ToConsumer does", sixfold.ErrInvalid)
	case len(s.Topics) > 1 || len(s.Topics) == 1 && s.Topics[0] != s.Group:
		return nil, fmt.Errorf("outbox: local: %w: topics %.64q for consumer %.64q; a local consumer has none, its name is the destination", sixfold.ErrInvalid, s.Topics, s.Group)
	}
	if err := checkConsumer(s.Group); err != nil {
		return nil, errors.Join(sixfold.ErrInvalid, err)
	}
	if s.MaxInFlight <= 0 {
		s.MaxInFlight = 1000
	}
	return OpenFeeds(ctx, []Feed{{Store: l.store, Class: s.Group}}, s.MaxInFlight, &l.opts)
}

// localSender writes what a relay brings. Each batch is one transaction.
type localSender struct {
	local  *Local
	down   error // after a transaction failed
	keys   map[string]struct{}
	closed bool
}

// Send implements bus.Sender. It writes before it returns.
func (s *localSender) Send(ctx context.Context, batch []bus.Outgoing) bus.Pending {
	errs := make(results, len(batch))
	rows := make([]Row, 0, len(batch))
	for i, o := range batch {
		if errs[i] = s.check(o); errs[i] == nil {
			rows = append(rows, Row{Partition: partitionFor(o.Key), ID: o.ID, Class: o.Topic, Key: o.Key,
				Attrs: EncodeAttrs(o.Envelope, Flags{Relayed: true}), Body: o.Body})
		} else if o.Key != "" {
			if s.keys == nil {
				s.keys = make(map[string]struct{})
			}
			s.keys[o.Key] = struct{}{}
		}
	}
	switch {
	case s.closed:
		s.down = fmt.Errorf("outbox: local: %w: %w", bus.ErrUnavailable, bus.ErrClosed)
	case s.down == nil && len(rows) > 0:
		s.down = s.write(ctx, rows)
	}
	for i := range errs {
		if errs[i] == nil {
			errs[i] = s.down
		}
	}
	return errs
}

func (s *localSender) check(o bus.Outgoing) error {
	if _, closed := s.keys[o.Key]; closed && o.Key != "" {
		return fmt.Errorf("outbox: local: %w", bus.ErrBehindFailed)
	}
	_, err := sixfold.ParseID(o.ID) // other producers' ids are any string, the row's column is a UUID
	if err = errors.Join(err, checkConsumer(o.Topic)); err != nil {
		return fmt.Errorf("outbox: local: %w: %w", bus.ErrRefused, err)
	}
	// What the database would refuse must not look like an outage, which is tried again for ever.
	if !utf8.ValidString(o.Key) || strings.ContainsRune(o.Key, 0) {
		return fmt.Errorf("outbox: local: %w: key %.64q: it is not valid UTF-8, or has a NUL, which no database takes as text; send another", bus.ErrRefused, o.Key)
	}
	if n := len(o.Body); n > maxLocal {
		return fmt.Errorf("outbox: local: %w: the body has %d bytes, the limit is %d; send the address of the data", bus.ErrTooLarge, n, maxLocal)
	}
	return nil
}

func (s *localSender) write(ctx context.Context, rows []Row) error {
	err := s.local.db.InTx(ctx, func(tx sqltx.Tx) error {
		_, _, err := s.local.store.Writer().Append(ctx, tx, ToLocal, rows, false)
		return err
	})
	if err != nil {
		return fmt.Errorf("outbox: local: %w: %w", bus.ErrUnavailable, err)
	}
	s.local.store.Bell(ToLocal).Ring(Now)
	return nil
}

// Close implements bus.Sender.
func (s *localSender) Close(context.Context) error {
	s.closed = true
	return nil
}

// results are what is known at once.
type results []error

// Wait implements bus.Pending.
func (r results) Wait(context.Context) []error { return r }
