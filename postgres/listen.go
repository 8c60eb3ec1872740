package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/store"
)

// ListenOptions tunes a Listener. The zero value is ready to use.
type ListenOptions struct {
	// Direct says how to connect where the pool goes through a pooler that shares connections between transactions:
	// such a pooler brings no notifications. Make it with pgx.ParseConfig. Nil: with the settings of the pool.
	Direct *pgx.ConnConfig
	// Every is the least time between two notifications, whatever is published: 1 ms to 1 s. Default 10 ms.
	Every time.Duration
	// Check is how often a quiet connection is asked whether it lives, at least 1 s. Default 1 min.
	Check time.Duration
	// Logger hears of a connection that is lost and found again. Nil: slog.Default().
	Logger *slog.Logger
}

const (
	listenLimit = 10 * time.Second       // of one thing that is asked of the server
	listenFirst = 100 * time.Millisecond // before the first try to connect again; doubles up to listenLast
	listenLast  = 30 * time.Second
)

// A Listener wakes the relays, local consumers and schedulers of other processes when this one has published or scheduled, and those
// of this process when another one has. It uses LISTEN and NOTIFY on one connection of its own, never in a transaction of
// yours: there NOTIFY makes all commits of the server wait for each other.
//
// It only saves time. What it cannot tell, since its connection is lost or notifications do not come through, is found at
// the next poll (outbox.RelayOptions.Poll). Every process that publishes or relays runs one.
type Listener struct {
	outbox  *store.Outbox
	channel string
	config  func() (*pgx.ConnConfig, func(context.Context, *pgx.ConnConfig) error)
	opts    ListenOptions
	ran     atomic.Bool

	mu   sync.Mutex
	deaf error // nil: it hears
}

// Listen makes the Listener of a store's tables. The pool stays the caller's; its settings are used, and none of its
// connections. Errors name every option that is wrong. Nothing is asked of the database before Run.
func Listen(pool *pgxpool.Pool, st *store.Store, opts *ListenOptions) (*Listener, error) {
	l := &Listener{deaf: errors.New("postgres: listen: Run was not called yet")}
	if opts != nil {
		l.opts = *opts
	}
	o := &l.opts
	var errs []error
	switch {
	case o.Direct != nil:
		direct := o.Direct.Copy()
		l.config = func() (*pgx.ConnConfig, func(context.Context, *pgx.ConnConfig) error) { return direct.Copy(), nil }
	case pool != nil:
		l.config = func() (*pgx.ConnConfig, func(context.Context, *pgx.ConnConfig) error) {
			c := pool.Config()
			return c.ConnConfig, c.BeforeConnect
		}
	default:
		errs = append(errs, errors.New("postgres: listen: the pool is nil; open one with pgxpool.New, or give ListenOptions.Direct"))
	}
	if st == nil {
		errs = append(errs, errors.New("postgres: listen: the store is nil; pass that of store.Postgres"))
	} else {
		l.outbox = st.Outbox()
		schema, table := l.outbox.Place(outbox.ToBroker)
		if schema == "" {
			errs = append(errs, errors.New("postgres: listen: the store is not of PostgreSQL; pass that of store.Postgres"))
		}
		l.channel = channelOf(schema, table)
	}
	if o.Every == 0 {
		o.Every = 10 * time.Millisecond
	}
	if o.Check == 0 {
		o.Check = time.Minute
	}
	if o.Every < time.Millisecond || o.Every > time.Second {
		errs = append(errs, fmt.Errorf("postgres: listen: option Every %v: it is outside 1ms to 1s; 10ms is right for most", o.Every))
	}
	if o.Check < time.Second {
		errs = append(errs, fmt.Errorf("postgres: listen: option Check %v: it is below 1s; 1m is right for most", o.Check))
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return l, nil
}

// String names the listener in errors of sixfold.Run.
func (l *Listener) String() string { return "postgres: listener" }

// Channel is the name of the channel, of schema and prefix: "sixfold.outbox" unless the store has others. Other writers
// may notify it too, with "outbox", "local", "delayed" or nothing as the payload. Do so after the commit.
func (l *Listener) Channel() string { return l.channel }

// Err is nil while the listener hears other processes, else it says why not. Safe for concurrent use.
func (l *Listener) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deaf
}

// Run listens until ctx ends, then tells what is left to tell, and returns nil. A lost connection is made anew for ever;
// when it is back, the relays of this process are rung, since nobody knows what was missed. Run may be called once.
func (l *Listener) Run(ctx context.Context) error {
	if l.ran.Swap(true) {
		return errors.New("postgres: listen: Run was called twice; make a new Listener")
	}
	n := news{every: l.opts.Every}
	for i, t := range spokenOf() {
		rings, stop := l.outbox.Bell(t).Listen()
		defer stop()
		n.rings[i] = rings
	}
	for tries := 0; ctx.Err() == nil; tries++ {
		began := time.Now()
		err := l.session(ctx, &n)
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > listenLast {
			tries = 0
		}
		l.lost(err)
		d := min(listenFirst<<min(tries, 10), listenLast)
		pause := time.NewTimer(d/2 + rand.N(d/2+1))
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = errors.New("postgres: listen: Run has ended")
	return nil
}

// session connects and listens until ctx ends or the connection is lost.
func (l *Listener) session(ctx context.Context, n *news) error {
	conn, err := l.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // it may be lost already
	}()
	for _, t := range spokenOf() {
		l.outbox.Bell(t).Ring(outbox.Heard)
	}
	l.found() // who sees that it hears has been rung
	s := session{Listener: l, conn: conn, news: n, checked: time.Now()}
	return s.run(ctx)
}

func (l *Listener) connect(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, listenLimit)
	defer cancel()
	config, before := l.config()
	if before != nil {
		if err := before(ctx, config); err != nil {
			return nil, fmt.Errorf("postgres: listen: %w", err)
		}
	}
	// What a pool's connections have may not suit this one: a handler would take the notifications away, a tracer would see
	// an endless stream of nothing, and waiting is interrupted all the time, which must not cost a request to cancel.
	config.OnNotification, config.Tracer = nil, nil
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler { return &pgconn.DeadlineContextWatcherHandler{Conn: c.Conn()} }
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "sixfold listener"
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("postgres: listen: %w", err)
	}
	if _, err := conn.Exec(ctx, "listen "+pgx.Identifier{l.channel}.Sanitize()); err != nil {
		_ = conn.Close(ctx)
		return nil, fmt.Errorf("postgres: listen: %w", err)
	}
	return conn, nil
}

func (l *Listener) lost(err error) {
	l.mu.Lock()
	first := l.deaf == nil || !errors.Is(l.deaf, errDeaf)
	l.deaf = fmt.Errorf("%w: %w", errDeaf, err)
	l.mu.Unlock()
	if first {
		l.opts.Logger.Warn("postgres listener does not hear other processes; it tries again, and polls find what they publish", "err", err)
	}
}

func (l *Listener) found() {
	l.mu.Lock()
	again := errors.Is(l.deaf, errDeaf)
	l.deaf = nil
	l.mu.Unlock()
	if again {
		l.opts.Logger.Info("postgres listener hears other processes again")
	}
}

var errDeaf = errors.New("postgres: listen: other processes are not heard, so their messages wait for the next poll")
