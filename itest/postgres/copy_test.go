package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// everywhere goes to a broker and to two local consumers.
type everywhere struct{ Key, Text string }

func (everywhere) MessageName() string  { return "test.everywhere" }
func (m everywhere) MessageKey() string { return m.Key }

// raw has a body of its own choice.
type raw struct{ body []byte }

func (raw) MessageName() string             { return "test.raw" }
func (r raw) MarshalJSON() ([]byte, error)  { return json.Marshal(string(r.body)) }
func (r *raw) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &r.body) }

// copying is a process whose outbox has routes of every kind.
func copying(t *testing.T) *process {
	t.Helper()
	as := database(t, nil)
	p := start(t, as, as.Application, nil)
	var err error
	p.box, err = outbox.New(p.st.Outbox(), nil, outbox.To("messages", message{}, raw{}), outbox.ToConsumer("helper", aside{}),
		outbox.To("all", everywhere{}), outbox.ToConsumer("a", everywhere{}), outbox.ToConsumer("b", everywhere{}))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// row is what both ways must write alike.
type row struct {
	Partition, Attempts int16
	Class, Topic        string
	Key                 *string
	Attrs               map[string]any
	Body                *string
	Own                 bool // created by the database's clock
}

func (p *process) rows(table string) (all []row, ids []string) {
	p.Helper()
	found, err := p.super.Query(p.Context(), "SELECT id::text, partition, attempts, class, topic, key, attrs, encode(body, 'hex'), created_at > now() - interval '1 hour' FROM sixfold."+table+" ORDER BY seq")
	if err != nil {
		p.Fatal(err)
	}
	defer found.Close()
	for found.Next() {
		var r row
		var id string
		var attrs []byte
		if err := found.Scan(&id, &r.Partition, &r.Attempts, &r.Class, &r.Topic, &r.Key, &attrs, &r.Body, &r.Own); err != nil {
			p.Fatal(err)
		}
		if r.Key == nil {
			r.Partition = 0 // a random one
		}
		if err := json.Unmarshal(attrs, &r.Attrs); err != nil {
			p.Fatal(err)
		}
		for _, own := range []string{"time", "expirytime", "correlationid"} { // of each call
			if v, ok := r.Attrs[own]; ok && v != "c" {
				r.Attrs[own] = "set"
			}
		}
		all = append(all, r)
		ids = append(ids, id)
	}
	if err := found.Err(); err != nil {
		p.Fatal(err)
	}
	return all, ids
}

// all are items of every kind, in an order that mixes them.
func all() (items []outbox.Item) {
	odd := "k\"\\{},\t 'ü€😀" + strings.Repeat("x", 200)
	for i := range 50 {
		items = append(items,
			outbox.Of(message{Key: fmt.Sprint("k", i%7), Text: fmt.Sprint(i)}),
			outbox.Of(message{Text: "no key"}),
			outbox.Of(message{Key: odd, Text: odd}, outbox.Header("h", "v, w"), outbox.Subject("s"), outbox.Correlation("c"), outbox.Expires(time.Hour), outbox.ReplyTo("r")),
			outbox.Of(message{Key: "k1", Text: "own id"}, outbox.ID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i))),
			outbox.Of(message{Key: "k1"}, outbox.Unique(fmt.Sprint("u", i), time.Hour), outbox.Topic("else")),
			outbox.Of(raw{[]byte(odd)}),
			outbox.Of(aside{Key: "a"}),
			outbox.Of(everywhere{Key: "e", Text: fmt.Sprint(i)}))
	}
	return items
}

func (p *process) in(f func(tx pgx.Tx) error) error { return pgx.BeginFunc(p.Context(), p.pool, f) }

// COPY writes what PublishAll of package outbox writes, in the same order. // guarantees: O5, K1
func TestCopyWritesWhatInsertWrites(t *testing.T) {
	insert, copied := copying(t), copying(t)
	var want, got []string
	if err := insert.in(func(tx pgx.Tx) (err error) {
		want, err = insert.box.PublishAll(t.Context(), sqltx.Pgx(tx), all()...)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := copied.in(func(tx pgx.Tx) (err error) {
		got, err = postgres.PublishAll(t.Context(), copied.box, tx, slices.Values(all()))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) || len(got) != len(all()) {
		t.Fatalf("%d ids, want %d", len(got), len(want))
	}
	for _, table := range []string{"outbox", "local"} {
		inserted, _ := insert.rows(table)
		rows, ids := copied.rows(table)
		if len(rows) != len(inserted) || len(rows) < 100 {
			t.Fatalf("%s: %d rows, want %d", table, len(rows), len(inserted))
		}
		for i := range rows {
			a, _ := json.Marshal(rows[i])
			b, _ := json.Marshal(inserted[i])
			if string(a) != string(b) {
				t.Fatalf("%s: row %d is\n%s\nwant\n%s", table, i, a, b)
			}
		}
		if at := slices.Index(got, ids[0]); at < 0 {
			t.Errorf("%s: id %s was not answered", table, ids[0])
		}
	}
	_, ids := copied.rows("outbox")
	if !slices.Equal(ids, slices.DeleteFunc(got, func(id string) bool { return !slices.Contains(ids, id) })) {
		t.Error("the ids are in another order than the rows")
	}
}

func plain(n int, key string) iter.Seq[outbox.Item] {
	return func(yield func(outbox.Item) bool) {
		for i := range n {
			if !yield(outbox.Of(message{Key: key, Text: fmt.Sprint(i)})) {
				return
			}
		}
	}
}

// What fails leaves nothing, and the transaction goes on: also after megabytes were sent. // guarantees: O1
func TestCopyIsWrittenWholeOrNotAtAll(t *testing.T) {
	p := copying(t)
	if _, err := p.super.Exec(t.Context(), "CREATE TABLE orders (id int)"); err != nil {
		t.Fatal(err)
	}
	huge := strings.Repeat("x", 900_000)
	failing := map[string]struct {
		last outbox.Item
		want error
	}{
		"a message that may not be sent": {outbox.Of(message{Key: "a\x00b"}), sixfold.ErrInvalid},
		"a message without a route":      {outbox.Of(unrouted{}), outbox.ErrNoRoute},
	}
	for what, f := range failing {
		err := p.in(func(tx pgx.Tx) error {
			items := slices.Concat([]outbox.Item{outbox.Of(message{Text: huge}), outbox.Of(message{Text: huge}), outbox.Of(message{Text: huge}, outbox.ID("00000000-0000-4000-8000-000000000001")), outbox.Of(message{Text: huge})}, []outbox.Item{f.last})
			ids, err := postgres.PublishAll(t.Context(), p.box, tx, slices.Values(items))
			if !errors.Is(err, f.want) || ids != nil || !strings.Contains(err.Error(), "message number 5") {
				t.Errorf("%s: %v", what, err)
			}
			_, err = tx.Exec(t.Context(), "INSERT INTO orders VALUES (1)")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := p.count("SELECT count(*) FROM orders"); n != 2 {
		t.Errorf("%d orders", n)
	}
	errBoom := errors.New("boom")
	if err := p.in(func(tx pgx.Tx) error {
		_, err := postgres.PublishAll(t.Context(), p.box, tx, plain(10, "k"))
		return errors.Join(err, errBoom)
	}); !errors.Is(err, errBoom) {
		t.Fatal(err)
	}
	// Rolling back to a savepoint of the caller's.
	if err := p.in(func(tx pgx.Tx) error {
		err := pgx.BeginFunc(t.Context(), tx, func(sp pgx.Tx) error {
			_, err := postgres.PublishAll(t.Context(), p.box, sp, plain(10, "k"))
			return errors.Join(err, errBoom)
		})
		if err != errBoom && !errors.Is(err, errBoom) {
			return err
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = p.in(func(tx pgx.Tx) error {
			_, err := postgres.PublishAll(t.Context(), p.box, tx, func(yield func(outbox.Item) bool) { panic("boom") })
			return err
		})
	}()
	if n := p.count("SELECT (SELECT count(*) FROM sixfold.outbox) + (SELECT count(*) FROM sixfold.local) + (SELECT count(*) FROM sixfold.published)"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	// None at all is no error, and a canceled context is one.
	if err := p.in(func(tx pgx.Tx) error {
		_, err := postgres.PublishAll(t.Context(), p.box, tx, plain(0, ""))
		return err
	}); err != nil {
		t.Error(err)
	}
	ended, stop := context.WithCancel(t.Context())
	if err := p.in(func(tx pgx.Tx) error {
		stop()
		_, err := postgres.PublishAll(ended, p.box, tx, plain(10, "k"))
		return err
	}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

type unrouted struct{}

func (unrouted) MessageName() string { return "test.unrouted" }

// Ids and unique keys that were there before are refused alone, and what mixes with them stays in order. // guarantees: O3, K1
func TestCopyRefusesDuplicatesAlone(t *testing.T) {
	p := copying(t)
	id := func(n int) outbox.Option { return outbox.ID(fmt.Sprintf("00000000-0000-4000-8000-%012d", n)) }
	publish := func() error {
		return p.in(func(tx pgx.Tx) error {
			ids, err := postgres.PublishAll(t.Context(), p.box, tx, slices.Values([]outbox.Item{
				outbox.Of(message{Key: "k", Text: "1"}), outbox.Of(message{Key: "k", Text: "2"}, id(2)), outbox.Of(message{Key: "k", Text: "3"}),
				outbox.Of(message{Key: "k", Text: "4"}, id(4)), outbox.Of(message{Key: "k", Text: "5"}, id(2)), outbox.Of(message{Key: "k", Text: "6"}),
			}))
			var dup *outbox.DuplicateError
			if !errors.As(err, &dup) || !errors.Is(err, outbox.ErrDuplicateMessage) || len(ids) != 6 {
				return fmt.Errorf("%d ids, %w", len(ids), err)
			}
			for _, i := range dup.IDs {
				if !slices.Contains(ids, i) {
					t.Errorf("%s was refused and not asked for", i)
				}
			}
			return nil
		})
	}
	texts := func() (all []string) {
		rows, err := p.super.Query(t.Context(), `SELECT convert_from(body, 'UTF8')::json->>'Text' FROM sixfold.outbox ORDER BY seq`)
		if err != nil {
			t.Fatal(err)
		}
		if all, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			t.Fatal(err)
		}
		return all
	}
	for _, want := range []string{"1 2 3 4 6", "1 2 3 4 6 1 3 6"} {
		if err := publish(); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(texts(), " "); got != want {
			t.Errorf("the rows are %s, want %s", got, want)
		}
	}
}

// A bulk that commits late is found, and of one key nothing overtakes. // guarantees: R3, R4
func TestCopyThatCommitsLateIsNotSkipped(t *testing.T) { // [LateCommitNotSkipped]
	p := copying(t)
	broker := memory.New(&memory.Options{Topics: []string{"messages"}})
	t.Cleanup(func() { _ = broker.Close(context.Background()) })
	taken := make(chan sixfold.Envelope, 10_000)
	broker.Tap(func(_ string, env *sixfold.Envelope) { taken <- *env })
	relay, err := outbox.NewRelay(start(t, p.as, p.as.Relay, nil).st.Outbox(), broker, &outbox.RelayOptions{Logger: quiet(), Poll: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	p.run(relay)
	late, err := p.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer late.Rollback(context.Background())
	if _, err := postgres.PublishAll(t.Context(), p.box, late, plain(3000, "late")); err != nil {
		t.Fatal(err)
	}
	for range 5 { // later numbers, sent first
		p.do(message{Key: "early"})
		if env := next(t, taken); env.Key != "early" {
			t.Fatalf("%q came before its commit", env.Key)
		}
	}
	if err := late.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		env := next(t, taken)
		var m message
		if err := json.Unmarshal(env.Body, &m); err != nil || env.Key != "late" || m.Text != fmt.Sprint(i) {
			t.Fatalf("number %d is %s of %q", i, env.Body, env.Key)
		}
	}
}

// What the relay's rule for gaps needs of every writer: the lock comes before the first number.
func TestCopyLocksBeforeItTakesNumbers(t *testing.T) {
	p := copying(t)
	conn, err := p.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := conn.Conn().PgConn().CopyFrom(t.Context(), r, "copy sixfold.outbox (partition, id, class, topic, key, attrs, body) from stdin")
		done <- err
	}()
	p.until("COPY holds its lock", func() bool {
		return p.count("SELECT count(*) FROM pg_locks WHERE relation = 'sixfold.outbox'::regclass AND mode = 'RowExclusiveLock' AND granted") == 1
	})
	if n := p.count("SELECT count(*) FROM pg_sequences WHERE schemaname = 'sixfold' AND sequencename = 'outbox_seq' AND last_value IS NOT NULL"); n != 0 {
		t.Error("a number was taken before the first row")
	}
	w.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCopyInAUnitOfWork(t *testing.T) {
	p := copying(t)
	var kept pgx.Tx
	err := outbox.Do(t.Context(), p.box, postgres.DB(p.pool), func(ctx context.Context, tx pgx.Tx, u *outbox.Unit) error {
		kept = tx
		_, err := postgres.PublishAll(ctx, p.box, tx, plain(100, "k"))
		u.Publish(message{Key: "k", Text: "last"})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := p.count("SELECT count(*) FROM sixfold.outbox"); n != 101 {
		t.Errorf("%d rows", n)
	}
	if _, err := postgres.PublishAll(t.Context(), p.box, kept, plain(1, "k")); !errors.Is(err, pgx.ErrTxClosed) {
		t.Error(err)
	}
}

func TestCopyRefusesWhatCannotBe(t *testing.T) {
	p := copying(t)
	if _, err := postgres.PublishAll(t.Context(), p.box, nil, plain(1, "k")); !errors.Is(err, sqltx.ErrNoTx) {
		t.Error(err)
	}
	lite, err := store.SQLite(sqltx.DB[int]{Run: func(context.Context, func(int) error) error { return nil }, Tx: func(int) sqltx.Tx { return sqltx.Tx{} }}, nil)
	if err != nil {
		t.Fatal(err)
	}
	box, err := outbox.New(lite.Outbox(), nil, outbox.To("messages", message{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.in(func(tx pgx.Tx) error {
		_, err := postgres.PublishAll(t.Context(), box, tx, plain(1, "k"))
		return err
	}); err == nil || !strings.Contains(err.Error(), "store.Postgres") {
		t.Error(err)
	}
	// Without tables: a typed error, and a transaction that goes on.
	none, err := store.Postgres(postgres.DB(p.pool), &store.Options{Schema: "nowhere"})
	if err != nil {
		t.Fatal(err)
	}
	if box, err = outbox.New(none.Outbox(), nil, outbox.To("messages", message{})); err != nil {
		t.Fatal(err)
	}
	if err := p.in(func(tx pgx.Tx) error {
		if _, err := postgres.PublishAll(t.Context(), box, tx, plain(1, "k")); !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "migrate up") {
			t.Error(err)
		}
		_, err := tx.Exec(t.Context(), "SELECT 1")
		return err
	}); err != nil {
		t.Error(err)
	}
}
