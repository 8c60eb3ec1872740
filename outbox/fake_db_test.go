package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/sqltx"
)

// FakeDB is a database of the tests: a Store whose transactions can be held open between writing and committing, so that
// numbers become visible in another order than they were drawn. Its clock is the process's, which a synctest bubble
// replaces. Before and After let operations fail, before they have an effect or after it, as when an answer is lost.
type FakeDB struct {
	mu     sync.Mutex
	ended  *sync.Cond // a transaction has
	seq    [2]int64
	rows   [2]map[int64]*fakeRow
	open   map[*FakeTx]struct{}
	txs    int
	nodes  map[string]*fakeNode
	leases map[fakeLeaseKey]*fakeLease
	claims map[string]time.Time // until when; zero: for ever
	status map[string]Outcome
	buried []DeadRow
	calls  map[string]int
	bells  [3]Bell

	Before, After func(op string) error
	Settled       func(t Table, seqs []int64) // with the lock held
	NoGaps        bool                        // Writers answers nil, as a database with one writer does
	Warnings      []string
}

type fakeRow struct {
	Row
	holder *FakeTx // that has deleted it and not ended
}

type fakeNode struct {
	class string
	until time.Time
	mark  int64
}

type fakeLeaseKey struct {
	class     string
	partition int16
}

type fakeLease struct {
	node    string
	epoch   int64
	suspect int64
}

func NewFakeDB() *FakeDB {
	db := &FakeDB{open: map[*FakeTx]struct{}{}, nodes: map[string]*fakeNode{}, leases: map[fakeLeaseKey]*fakeLease{}, claims: map[string]time.Time{},
		status: map[string]Outcome{}, calls: map[string]int{}, rows: [2]map[int64]*fakeRow{{}, {}}}
	db.ended = sync.NewCond(&db.mu)
	return db
}

// do runs one operation.
func (db *FakeDB) do(ctx context.Context, op string, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	db.mu.Lock()
	before, after := db.Before, db.After
	db.mu.Unlock()
	if before != nil {
		if err := before(op); err != nil {
			return err
		}
	}
	db.mu.Lock()
	db.calls[op]++
	err := f()
	db.mu.Unlock()
	if err == nil && after != nil {
		err = after(op)
	}
	return err
}

// Fail sets Before and After while others work.
func (db *FakeDB) Fail(before, after func(op string) error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.Before, db.After = before, after
}

// Calls counts an operation.
func (db *FakeDB) Calls(op string) int {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.calls[op]
}

// Left answers the committed seqs of a table.
func (db *FakeDB) Left(t Table) []int64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.Sorted(maps.Keys(db.rows[t]))
}

// Row answers a committed row.
func (db *FakeDB) Row(t Table, seq int64) Row {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.rows[t][seq].Row
}

// Put commits a row as it is, for tests of what other writers do.
func (db *FakeDB) Put(t Table, r Row) int64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	if r.Seq == 0 {
		db.seq[t]++
		r.Seq = db.seq[t]
	}
	db.rows[t][r.Seq] = &fakeRow{Row: r}
	return r.Seq
}

// ResetSequence makes the next row of t have seq.
func (db *FakeDB) ResetSequence(t Table, seq int64) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.seq[t] = seq - 1
}

// Kill makes a node's heart stand still, as the death of its process does: others take over at once.
func (db *FakeDB) Kill(node string) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if n := db.nodes[node]; n != nil {
		n.until = time.Time{}
	}
}

// Nodes answers the live nodes of a class.
func (db *FakeDB) Nodes(class string) (ids []string) {
	db.mu.Lock()
	defer db.mu.Unlock()
	for id, n := range db.nodes {
		if n.class == class && !n.until.Before(time.Now()) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Held counts the partitions by owner.
func (db *FakeDB) Held(class string) map[string]int {
	db.mu.Lock()
	defer db.mu.Unlock()
	held := map[string]int{}
	for k, l := range db.leases {
		if k.class == class {
			held[l.node]++
		}
	}
	return held
}

// FakeTx is a transaction of a FakeDB.
type FakeTx struct {
	db       *FakeDB
	id       int
	rows     [2][]Row
	claims   map[string]time.Time
	deleted  [2][]int64
	wrote    [2]bool
	done     bool
	Prepared bool // under db.mu
}

// Begin opens one.
func (db *FakeDB) Begin() *FakeTx {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.txs++
	tx := &FakeTx{db: db, id: db.txs, claims: map[string]time.Time{}}
	db.open[tx] = struct{}{}
	return tx
}

// Tx sees it as the packages do.
func (tx *FakeTx) Tx() sqltx.Tx { return sqltx.Like(tx) }

func (tx *FakeTx) ExecContext(ctx context.Context, _ string, args ...any) (sql.Result, error) {
	if tx.done {
		return nil, sql.ErrTxDone
	}
	if f, ok := args[0].(func(context.Context, *FakeTx) error); ok {
		return fakeResult{}, f(ctx, tx)
	}
	return fakeResult{}, nil
}

func (tx *FakeTx) QueryContext(context.Context, string, ...any) (*sql.Rows, error) {
	return nil, errors.New("fake: no queries")
}

type fakeResult struct{}

func (fakeResult) LastInsertId() (int64, error) { return 0, nil }
func (fakeResult) RowsAffected() (int64, error) { return 0, nil }

// Prepare is PREPARE TRANSACTION: the locks stay, under another name.
func (tx *FakeTx) Prepare() {
	tx.db.mu.Lock()
	defer tx.db.mu.Unlock()
	tx.Prepared = true
}

// Commit makes what was written visible.
func (tx *FakeTx) Commit() error {
	if tx.done {
		return sql.ErrTxDone
	}
	db := tx.db
	if before := db.Before; before != nil {
		if err := before("commit"); err != nil {
			_ = tx.Rollback()
			return err
		}
	}
	db.mu.Lock()
	for t := range tx.rows {
		for _, r := range tx.rows[t] {
			db.rows[t][r.Seq] = &fakeRow{Row: r}
		}
		for _, seq := range tx.deleted[t] {
			delete(db.rows[t], seq)
		}
	}
	maps.Copy(db.claims, tx.claims)
	tx.end(Committed)
	after := db.After
	db.mu.Unlock()
	if after != nil {
		return after("commit")
	}
	return nil
}

// Rollback undoes it.
func (tx *FakeTx) Rollback() error {
	if tx.done {
		return sql.ErrTxDone
	}
	tx.db.mu.Lock()
	defer tx.db.mu.Unlock()
	for t := range tx.deleted {
		for _, seq := range tx.deleted[t] {
			if r := tx.db.rows[t][seq]; r != nil {
				r.holder = nil
			}
		}
	}
	tx.end(RolledBack)
	return nil
}

func (tx *FakeTx) open() bool {
	tx.db.mu.Lock()
	defer tx.db.mu.Unlock()
	return !tx.done
}

func (tx *FakeTx) end(o Outcome) {
	tx.done = true
	tx.db.status[fmt.Sprint(tx.id)] = o
	delete(tx.db.open, tx)
	tx.db.ended.Broadcast()
}

// DB opens transactions as a library does.
func (db *FakeDB) DB() sqltx.DB[*FakeTx] {
	return sqltx.DB[*FakeTx]{
		Run: func(ctx context.Context, fn func(*FakeTx) error) error {
			tx := db.Begin()
			defer tx.Rollback()
			if err := fn(tx); err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			return tx.Commit()
		},
		Tx: func(tx *FakeTx) sqltx.Tx { return tx.Tx() },
	}
}

func (db *FakeDB) Writer() Writer      { return fakeWriter{db} }
func (db *FakeDB) Queue(t Table) Queue { return fakeQueue{db, t} }
func (db *FakeDB) Leases() Leases      { return fakeLeases{db} }
func (db *FakeDB) Keeper() Keeper      { return fakeKeeper{db} }
func (db *FakeDB) Bell(t Table) *Bell  { return &db.bells[t] }

type fakeWriter struct{ db *FakeDB }

// ErrFakeCut is a lost connection, ErrFakeRefused the database's own word.
var (
	ErrFakeCut     = errors.New("fake: connection lost")
	ErrFakeRefused = errors.New("fake: the server says no")
)

func (w fakeWriter) Append(ctx context.Context, tx sqltx.Tx, t Table, rows []Row, wantXact bool) (refused []int, xact string, err error) {
	_, err = tx.Exec(ctx, "append", func(ctx context.Context, tx *FakeTx) error {
		return w.db.do(ctx, "append", func() error {
			for i, r := range rows {
				if r.Claim != "" {
					until, is := w.db.claims[r.Claim]
					if mine, own := tx.claims[r.Claim]; own {
						until, is = mine, true
					}
					if is && (until.IsZero() || time.Now().Before(until)) {
						refused = append(refused, i)
						continue
					}
					tx.claims[r.Claim] = time.Time{}
					if r.ClaimFor > 0 {
						tx.claims[r.Claim] = time.Now().Add(r.ClaimFor)
					}
				}
				tx.wrote[t] = true
				w.db.seq[t]++
				r.Seq = w.db.seq[t]
				r.Claim, r.ClaimFor = "", 0
				tx.rows[t] = append(tx.rows[t], r)
			}
			if wantXact {
				xact = fmt.Sprint(tx.id)
			}
			return nil
		})
	})
	return refused, xact, err
}

// Delay writes nothing: what becomes of delayed rows is a store's.
func (w fakeWriter) Delay(context.Context, sqltx.Tx, []DelayedRow, bool) (refused []int, xact string, err error) {
	return nil, "", errors.New("fake: it keeps no delayed rows")
}

func (w fakeWriter) Prepare(t Table, rows []Row) (sqltx.Statement, error) {
	for _, r := range rows {
		if r.Claim != "" {
			return sqltx.Statement{}, errors.New("fake: prepare: a row has a claim")
		}
		if len(r.Body) > 1000 && len(rows) > 1 {
			return sqltx.Statement{}, errors.New("fake: prepare: too much for one statement")
		}
	}
	f := func(ctx context.Context, tx *FakeTx) error {
		_, _, err := w.Append(ctx, tx.Tx(), t, rows, false)
		return err
	}
	return sqltx.Statement{SQL: "prepared", Args: []any{f}}, nil
}

func (w fakeWriter) Outcome(ctx context.Context, xact string) (o Outcome, err error) {
	err = w.db.do(ctx, "outcome", func() error {
		o = w.db.status[xact]
		return nil
	})
	return o, err
}

func (w fakeWriter) Definite(err error) bool { return errors.Is(err, ErrFakeRefused) }

type fakeQueue struct {
	db *FakeDB
	t  Table
}

func (q fakeQueue) answer(r *fakeRow, own *Ownership) Row {
	if r.Class != own.Class || !own.Partitions[r.Partition] {
		return Row{Seq: r.Seq, Partition: r.Partition, Foreign: true}
	}
	return r.Row
}

func (q fakeQueue) Read(ctx context.Context, after int64, limit int, own Ownership) (out []Row, err error) {
	err = q.db.do(ctx, "read", func() error {
		for _, seq := range slices.Sorted(maps.Keys(q.db.rows[q.t])) {
			if seq > after && len(out) < limit {
				out = append(out, q.answer(q.db.rows[q.t][seq], &own))
			}
		}
		return nil
	})
	return out, err
}

func (q fakeQueue) LookUp(ctx context.Context, missing []Range, limit int, own Ownership) (out []Row, err error) {
	err = q.db.do(ctx, "lookup", func() error {
		for _, seq := range slices.Sorted(maps.Keys(q.db.rows[q.t])) {
			in := slices.ContainsFunc(missing, func(r Range) bool { return r.From <= seq && seq <= r.To })
			if in && len(out) < limit {
				out = append(out, q.answer(q.db.rows[q.t][seq], &own))
			}
		}
		return nil
	})
	return out, err
}

func (q fakeQueue) Writers(ctx context.Context) (names []string, err error) {
	err = q.db.do(ctx, "writers", func() error {
		if q.db.NoGaps {
			return nil
		}
		names = []string{}
		for tx := range q.db.open {
			switch {
			case !tx.wrote[q.t]:
			case tx.Prepared:
				names = append(names, fmt.Sprintf("-1/%d", tx.id))
			default:
				names = append(names, fmt.Sprintf("3/%d", tx.id))
			}
		}
		return nil
	})
	return names, err
}

func (q fakeQueue) Settle(ctx context.Context, node string, seqs []int64) (n int, err error) {
	err = q.db.do(ctx, "settle", func() error {
		if q.db.nodes[node] == nil {
			return ErrFenced
		}
		if q.db.Settled != nil {
			q.db.Settled(q.t, seqs)
		}
		for _, seq := range seqs {
			if q.db.rows[q.t][seq] != nil {
				n++
				delete(q.db.rows[q.t], seq)
			}
		}
		return nil
	})
	return n, err
}

// Bury forgets the rows, as Settle does, and keeps what is said of them.
func (q fakeQueue) Bury(ctx context.Context, node string, dead []DeadRow) (n int, err error) {
	err = q.db.do(ctx, "bury", func() error {
		if q.db.nodes[node] == nil {
			return ErrFenced
		}
		for _, d := range dead {
			if q.db.rows[q.t][d.Seq] != nil {
				delete(q.db.rows[q.t], d.Seq)
				q.db.buried = append(q.db.buried, d)
				n++
			}
		}
		return nil
	})
	return n, err
}

// Buried answers the rows that became dead letters.
func (db *FakeDB) Buried() []DeadRow {
	db.mu.Lock()
	defer db.mu.Unlock()
	return slices.Clone(db.buried)
}

// Claim waits for another transaction that has claimed one of the rows, as a row lock makes it.
func (q fakeQueue) Claim(ctx context.Context, tx sqltx.Tx, node string, seqs []int64) (there, behind []int64, err error) {
	_, err = tx.Exec(ctx, "claim", func(ctx context.Context, tx *FakeTx) error {
		return q.db.do(ctx, "claim", func() error {
			if q.db.nodes[node] == nil {
				return ErrFenced
			}
			for _, seq := range slices.Sorted(slices.Values(seqs)) {
				for q.db.rows[q.t][seq] != nil && q.db.rows[q.t][seq].holder != nil {
					q.db.ended.Wait()
				}
				if r := q.db.rows[q.t][seq]; r != nil {
					r.holder = tx
					tx.deleted[q.t] = append(tx.deleted[q.t], seq)
					there = append(there, seq)
				}
			}
			return nil
		})
	})
	return there, nil, err
}

type fakeLeases struct{ db *FakeDB }

func (l fakeLeases) Join(ctx context.Context, class, node string, ttl time.Duration) error {
	return l.db.do(ctx, "join", func() error {
		if l.db.nodes[node] != nil {
			return errors.New("fake: the node was used before")
		}
		l.db.nodes[node] = &fakeNode{class: class, until: time.Now().Add(ttl)}
		for p := range int16(Partitions) {
			if k := (fakeLeaseKey{class, p}); l.db.leases[k] == nil {
				l.db.leases[k] = &fakeLease{}
			}
		}
		return nil
	})
}

func (l fakeLeases) Beat(ctx context.Context, class, node string, ttl time.Duration, mark int64) (nodes, free int, err error) {
	err = l.db.do(ctx, "beat", func() error {
		n := l.db.nodes[node]
		if n == nil {
			return ErrFenced
		}
		n.until = time.Now().Add(ttl)
		if mark != 0 {
			n.mark = mark
		}
		for _, n := range l.db.nodes {
			if n.class == class && !n.until.Before(time.Now()) {
				nodes++
			}
		}
		for k, lease := range l.db.leases {
			if owner := l.db.nodes[lease.node]; k.class == class && (owner == nil || owner.until.Before(time.Now())) {
				free++
			}
		}
		return nil
	})
	return nodes, free, err
}

func (l fakeLeases) Take(ctx context.Context, class, node string, most int, t Table, countSuspects bool) (got []Lease, err error) {
	err = l.db.do(ctx, "take", func() error {
		if l.db.nodes[node] == nil {
			return ErrFenced
		}
		for id, n := range l.db.nodes {
			if n.class != class || !n.until.Before(time.Now()) || id == node {
				continue
			}
			delete(l.db.nodes, id)
			for _, lease := range l.db.leases {
				if lease.node == id {
					lease.node, lease.suspect = "", max(lease.suspect, n.mark)
				}
			}
		}
		for p := range int16(Partitions) {
			lease := l.db.leases[fakeLeaseKey{class, p}]
			if lease == nil || lease.node != "" || len(got) >= most {
				continue
			}
			got = append(got, Lease{Partition: p, Epoch: lease.epoch + 1, Suspect: lease.suspect})
			for _, r := range l.db.rows[t] {
				if countSuspects && r.Class == class && r.Partition == p && r.Seq <= lease.suspect && r.holder == nil {
					r.Attempts++
				}
			}
			lease.node, lease.epoch, lease.suspect = node, lease.epoch+1, 0
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return got, nil
}

func (l fakeLeases) GiveBack(ctx context.Context, class, node string, partitions []int16) error {
	return l.db.do(ctx, "giveback", func() error {
		for _, p := range partitions {
			if lease := l.db.leases[fakeLeaseKey{class, p}]; lease.node == node {
				lease.node, lease.suspect = "", 0
			}
		}
		return nil
	})
}

func (l fakeLeases) Leave(ctx context.Context, class, node string) error {
	return l.db.do(ctx, "leave", func() error {
		for _, lease := range l.db.leases {
			if lease.node == node {
				lease.node, lease.suspect = "", 0
			}
		}
		delete(l.db.nodes, node)
		return nil
	})
}

type fakeKeeper struct{ db *FakeDB }

func (k fakeKeeper) Stats(context.Context, Table) (Stats, error) { return Stats{}, nil }

func (k fakeKeeper) Purge(ctx context.Context, limit int) (int, error) {
	return 0, k.db.do(ctx, "purge", func() error { return nil })
}

func (k fakeKeeper) Check(ctx context.Context) ([]string, error) {
	err := k.db.do(ctx, "check", func() error { return nil })
	if errors.Is(err, ErrFakeCut) {
		err = fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
	}
	return k.db.Warnings, err
}
