package outbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/sqltx"
)

// DefaultMaxBody is the limit of a body in bytes unless Options says otherwise.
const DefaultMaxBody = 1 << 20

// Options of an Outbox. The zero value is ready to use.
type Options struct {
	// Source names the service in every envelope. Default "sixfold".
	Source string
	// Codec of bodies. Default sixfold.JSON.
	Codec sixfold.Codec
	// MaxBody in bytes. Default DefaultMaxBody; brokers may take less.
	MaxBody int
	// Seal is called for each envelope when nothing about it changes any more, before it is written: to sign it, for example, so that
	// relays need no key. Its error refuses the publish. It is called by many goroutines at once. Nil: nothing is done.
	Seal func(env *sixfold.Envelope) error
}

// Outbox writes messages. It does not change and is safe for concurrent use.
type Outbox struct {
	store  Store
	writer Writer
	routes routes
	opts   Options
	drafts sync.Pool   // of *draft
	waits  atomic.Bool // a message that waits was written, and no commit was told of since
}

// New makes the Outbox of a database with the routes of its messages. It reports every problem at once.
func New(st Store, opts *Options, rs ...Route) (*Outbox, error) {
	o := &Outbox{store: st, drafts: sync.Pool{New: func() any { return new(draft) }}}
	var errs []error
	if st == nil {
		errs = append(errs, errors.New("outbox: the store is nil; pass store.Postgres(…).Outbox() or that of another database"))
	}
	if opts != nil {
		o.opts = *opts
	}
	if o.opts.Source == "" {
		o.opts.Source = "sixfold"
	}
	if o.opts.MaxBody == 0 {
		o.opts.MaxBody = DefaultMaxBody
	}
	if o.opts.MaxBody < 0 || o.opts.MaxBody > 16<<20 {
		errs = append(errs, fmt.Errorf("outbox: MaxBody %d: it is outside 1 to 16 MiB; put large bodies into an object store and send their address", o.opts.MaxBody))
	}
	var err error
	o.routes, err = newRoutes(rs)
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	o.writer = st.Writer()
	return o, nil
}

// Publish records m in tx and answers its id. The message is sent if and only if tx commits; rolling back to a
// savepoint before it removes it. Messages of one key arrive in the order of their Publish if tx holds a lock that orders
// the key's writers (the row of the aggregate, for example) before it publishes.
//
// Errors: sixfold.ErrInvalid for a message that may not be sent, ErrNoRoute, ErrDuplicateMessage (tx stays usable), or
// the database's own, after which tx is at an end as its library says.
func (o *Outbox) Publish(ctx context.Context, tx sqltx.Tx, m sixfold.Message, opts ...Option) (id string, err error) {
	if tx.IsZero() {
		return "", fmt.Errorf("outbox: publish %T: %w", m, sqltx.ErrNoTx)
	}
	d := o.drafts.Get().(*draft)
	defer o.free(d)
	w, err := o.draft(ctx, d, written{broker: d.space[ToBroker][:0], local: d.space[ToLocal][:0]}, m, opts)
	if err != nil {
		return "", err
	}
	return w.id, o.write(ctx, tx, w)
}

// Item is a message with its options, for PublishAll.
type Item struct {
	message sixfold.Message
	opts    []Option
}

// Of makes an Item.
func Of(m sixfold.Message, opts ...Option) Item { return Item{m, opts} }

// PublishAll is Publish for many messages in one round trip (per 16 MB). It answers their ids in order. A message that
// may not be sent refuses all of them, before anything is written.
func (o *Outbox) PublishAll(ctx context.Context, tx sqltx.Tx, items ...Item) (ids []string, err error) {
	if tx.IsZero() {
		return nil, fmt.Errorf("outbox: publish: %w", sqltx.ErrNoTx)
	}
	var all written
	var errs []error
	for i, it := range items {
		w, err := o.kept(ctx, it.message, it.opts)
		if err != nil {
			errs = append(errs, fmt.Errorf("message number %d: %w", i+1, err))
			continue
		}
		ids = append(ids, w.id)
		all.add(w)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return ids, o.write(ctx, tx, all)
}

// PublishEnvelope records an envelope that the caller made, as it is, for example one that is forwarded. Its id is the
// caller's choice, as with ID, and its destination comes from the route of its type, or from the option Topic.
func (o *Outbox) PublishEnvelope(ctx context.Context, tx sqltx.Tx, env *sixfold.Envelope, opts ...Option) error {
	if tx.IsZero() {
		return fmt.Errorf("outbox: publish envelope: %w", sqltx.ErrNoTx)
	}
	if err := sixfold.CheckEnvelope(env); err != nil {
		return err
	}
	own := *env
	own.Headers = maps.Clone(env.Headers) // options add to them, and env stays the caller's
	w, err := o.rows(&draft{env: &own, idGiven: true}, written{}, opts)
	if err != nil {
		return err
	}
	return o.write(ctx, tx, w)
}

// Prepare is Publish as SQL and arguments, for a batch of the caller's own. Call Committed after the commit, so that
// the relay need not wait for its next poll. Messages with ID or Unique, and with several destinations in both tables,
// cannot be prepared.
func (o *Outbox) Prepare(ctx context.Context, m sixfold.Message, opts ...Option) (s sqltx.Statement, id string, err error) {
	w, err := o.kept(ctx, m, opts)
	if err == nil {
		err = w.refuseDelayed("prepare", m.MessageName())
	}
	if err != nil {
		return s, "", err
	}
	if len(w.broker) > 0 && len(w.local) > 0 {
		return s, "", fmt.Errorf("outbox: prepare %s: it goes to a broker and to a local consumer, which are two statements; use Publish", m.MessageName())
	}
	if len(w.local) > 0 {
		s, err = o.writer.Prepare(ToLocal, w.local)
	} else {
		s, err = o.writer.Prepare(ToBroker, w.broker)
	}
	return s, w.id, err
}

// Committed tells the relays of this process that a transaction which published was committed. Do calls it by itself;
// without it a relay, or a scheduler, finds the rows at its next poll.
func (o *Outbox) Committed() {
	o.store.Bell(ToBroker).Ring(Now)
	o.store.Bell(ToLocal).Ring(Now)
	if o.waits.Swap(false) { // else every publish would have schedulers look
		o.store.Bell(Later).Ring(Now)
	}
}

// written are the rows of one or more messages.
type written struct {
	id            string
	broker, local []Row
	delayed       []DelayedRow
}

func (w *written) add(more written) {
	w.broker = addRows(w.broker, more.broker)
	w.local = addRows(w.local, more.local)
	w.delayed = append(w.delayed, more.delayed...)
}

// addRows takes the first rows over and grows steeply after that: most units have one message, and those of many should
// not copy theirs at every second one.
func addRows(to, more []Row) []Row {
	if len(to) == 0 {
		return more
	}
	if len(to)+len(more) > cap(to) {
		to = slices.Grow(to, max(len(more), 7, len(to)))
	}
	return append(to, more...)
}

// kept makes the rows of a message that is written later.
func (o *Outbox) kept(ctx context.Context, m sixfold.Message, opts []Option) (written, error) {
	d := o.drafts.Get().(*draft)
	defer o.free(d)
	return o.draft(ctx, d, written{}, m, opts)
}

// draft adds the rows of a message to w.
func (o *Outbox) draft(ctx context.Context, d *draft, w written, m sixfold.Message, opts []Option) (written, error) {
	d.env = &d.envelope
	if err := sixfold.InitEnvelope(ctx, d.env, o.opts.Source, o.opts.Codec, m); err != nil {
		return written{}, err
	}
	return o.rows(d, w, opts)
}

func (o *Outbox) free(d *draft) {
	*d = draft{} // so that no message outlives its publishing here
	o.drafts.Put(d)
}

// rows makes one row for each destination and adds it to w.
func (o *Outbox) rows(d *draft, w written, opts []Option) (written, error) {
	first := d.env.ID
	for _, opt := range opts {
		opt(d)
	}
	d.setExpiry()
	env := d.env
	if d.idGiven {
		env.ID = strings.ToLower(env.ID) // as the database gives it back; both cases are one id
	}
	if d.idGiven && env.CorrelationID == first {
		env.CorrelationID = env.ID // the first of a chain is its own correlation
	}
	if d.idGiven && d.unique != "" {
		d.fail("options ID and Unique: both refuse repeats; give one of them")
	}
	if len(env.Body) > o.opts.MaxBody {
		d.fail("body of %s: it has %d bytes, the limit is %d; raise Options.MaxBody, or send the address of the data", env.Type, len(env.Body), o.opts.MaxBody)
	}
	if err := errors.Join(d.err, sixfold.CheckEnvelope(env)); err != nil {
		return written{}, err
	}
	env.SetIssuer("") // of one that is forwarded: it is published by this service
	if o.opts.Seal != nil && !d.unsealed {
		if err := o.opts.Seal(env); err != nil {
			return written{}, fmt.Errorf("outbox: seal %.64q: %w", env.Type, err)
		}
	}
	if d.topic != "" {
		o.row(&w, d, destination{topic: d.topic, mustReach: true})
	} else {
		for _, to := range o.routes[env.Type] {
			o.row(&w, d, to)
		}
	}
	if len(w.broker)+len(w.local) == 0 {
		return written{}, noRoute(env.Type)
	}
	w.id = env.ID
	if d.later {
		w.delay(d)
	}
	return w, nil
}

func (o *Outbox) row(w *written, d *draft, to destination) {
	env := d.env
	r := Row{Partition: partitionFor(env.Key), ID: env.ID, Class: to.class, Topic: to.topic, Key: env.Key,
		Attrs: EncodeAttrs(env, Flags{MustReach: to.mustReach}), Body: env.Body}
	if d.idGiven && !d.derived || d.unique != "" {
		kind, what := "id", env.ID
		if d.unique != "" {
			kind, what = "key", d.unique
		}
		r.Claim = strings.Join([]string{kind, what, to.table.String(), to.class, to.topic}, "\x1f")
		r.ClaimFor = d.uniqueFor
	}
	if to.table == ToLocal {
		w.local = append(w.local, r)
	} else {
		w.broker = append(w.broker, r)
	}
}

// write appends the rows and rings the bells.
func (o *Outbox) write(ctx context.Context, tx sqltx.Tx, w written) error {
	var refused []string
	for _, part := range [...]struct {
		t    Table
		rows []Row
	}{{ToBroker, w.broker}, {ToLocal, w.local}} {
		if len(part.rows) == 0 {
			continue
		}
		dup, _, err := o.writer.Append(ctx, tx, part.t, part.rows, false)
		if err != nil {
			return fmt.Errorf("outbox: publish: %w", err)
		}
		for _, i := range dup {
			refused = append(refused, part.rows[i].ID)
		}
		o.store.Bell(part.t).Ring(Soon)
	}
	if len(w.delayed) > 0 {
		dup, _, err := o.writer.Delay(ctx, tx, w.delayed, false)
		if err != nil {
			return fmt.Errorf("outbox: publish: %w", err)
		}
		for _, i := range dup {
			refused = append(refused, w.delayed[i].ID)
		}
		o.waits.Store(true)
		o.store.Bell(Later).Ring(Soon)
	}
	return duplicates(refused)
}

// A DuplicateError says which messages were there before. It matches ErrDuplicateMessage.
type DuplicateError struct {
	IDs []string // as they would have been written, one for each destination that refused
}

func duplicates(ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	return &DuplicateError{ids}
}

func (e *DuplicateError) Error() string {
	return fmt.Sprintf("%v: %d of the call, the first with id %.64q; the transaction is usable, and nothing needs to be done if this is a repeat", ErrDuplicateMessage, len(e.IDs), e.IDs[0])
}

// Is matches ErrDuplicateMessage.
func (e *DuplicateError) Is(target error) bool { return target == ErrDuplicateMessage }
