package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Tx is an open transaction of a Store. Store.DB begins and ends it. Packages like outbox take it as sqltx.Native(tx).
// Like other transactions it belongs to one goroutine at a time.
type Tx struct {
	st *Store
	id uint64

	// All below is guarded by the store's lock.
	changes  []change
	onCommit []func()
	saves    []savepoint
	wrote    [3]bool       // drew numbers of that table
	asked    bool          // its outcome may be asked for
	failed   error         // what it must be rolled back for
	waits    *Tx           // the one that it waits for
	freed    chan struct{} // closed when it lets rows go
	ended    bool
}

// savepoint is what there was when it was set.
type savepoint struct {
	name              string
	changes, onCommit int
}

// ErrDeadlock says that two transactions waited for each other. The one that has this error is rolled back; doing it again
// in a fresh one may succeed.
var ErrDeadlock = errors.New("memory: deadlock: another transaction waits for this one; do the work again in a fresh transaction")

var errEnded = errors.New("memory: the transaction has ended; begin another with Store.DB")

// run is the Run of Store.DB.
func (s *Store) run(ctx context.Context, fn func(*Tx) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("memory: begin: %w", err)
	}
	tx := s.begin()
	defer tx.rollBack() // nothing is left of it after a commit
	if err := fn(tx); err != nil {
		return err
	}
	return tx.commit(ctx)
}

func (s *Store) begin() *Tx {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun++
	tx := &Tx{st: s, id: s.begun, freed: make(chan struct{})}
	s.open[tx] = struct{}{}
	return tx
}

// OnCommit has fn change something of the caller's own, a map of orders for example, when the transaction commits: at the
// same moment as its messages and records, and never if it is rolled back, also to a savepoint. fn is called with the
// store locked: it is quick, cannot fail, and uses neither the store nor the transaction. The error says that the
// transaction has ended or failed already, so that fn will not be called.
func (tx *Tx) OnCommit(fn func()) error {
	return tx.do(context.Background(), "on commit", func() error {
		if fn == nil {
			return errors.New("the function is nil; pass one, or call nothing")
		}
		tx.onCommit = append(tx.onCommit, fn)
		return nil
	})
}

// Lock waits until no other transaction holds the lock of that name, and holds it until the transaction ends. It stands
// for the lock on an aggregate's row, which orders those who publish messages of its key.
func (tx *Tx) Lock(ctx context.Context, name string) error {
	return tx.do(ctx, "lock", func() error {
		err := tx.st.locks.free(ctx, tx, name)
		if err == nil {
			tx.st.locks.put(tx, name, nil)
		}
		return err
	})
}

// Perform implements sqltx.NativeTx.
func (tx *Tx) Perform(ctx context.Context, statement string, args ...any) (n int64, err error) {
	verb, name := cutLast(statement)
	switch verb {
	case "SAVEPOINT", "ROLLBACK TO SAVEPOINT", "RELEASE SAVEPOINT":
		return 0, tx.savepoint(ctx, verb, name)
	case prepared:
		return tx.performAppend(ctx, args)
	}
	return 0, errors.New("memory: perform: this database speaks no SQL; keep what is yours in Go values, and change them with Tx.OnCommit")
}

// cutLast cuts the last word off.
func cutLast(s string) (verb, name string) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+1:]
}

func (tx *Tx) savepoint(ctx context.Context, verb, name string) error {
	tx.st.mu.Lock()
	defer tx.st.mu.Unlock()
	if tx.ended {
		return errEnded
	}
	if verb == "SAVEPOINT" {
		if err := errors.Join(tx.failed, ctx.Err()); err != nil {
			return err
		}
		tx.saves = append(tx.saves, savepoint{name, len(tx.changes), len(tx.onCommit)})
		return nil
	}
	at := len(tx.saves) - 1
	for ; at >= 0 && tx.saves[at].name != name; at-- {
	}
	if at < 0 {
		return fmt.Errorf("memory: savepoint %.64q: there is none of that name; use sqltx.Tx.Savepoint", name)
	}
	if verb == "RELEASE SAVEPOINT" {
		if tx.failed != nil {
			return tx.failed
		}
		tx.saves = tx.saves[:at]
		return nil
	}
	to := tx.saves[at]
	tx.saves, tx.failed = tx.saves[:at+1], nil
	tx.undo(to.changes)
	clear(tx.onCommit[to.onCommit:])
	tx.onCommit = tx.onCommit[:to.onCommit]
	return nil
}

// do runs one statement with the store locked. What fails leaves nothing behind.
func (tx *Tx) do(ctx context.Context, what string, fn func() error) error {
	tx.st.mu.Lock()
	defer tx.st.mu.Unlock()
	switch {
	case tx.ended:
		return fmt.Errorf("memory: %s: %w", what, errEnded)
	case tx.failed != nil:
		return fmt.Errorf("memory: %s: the transaction has failed before, roll it back: %w", what, tx.failed)
	case ctx.Err() != nil:
		return fmt.Errorf("memory: %s: %w", what, ctx.Err())
	}
	before := len(tx.changes)
	err := fn()
	if err == nil {
		return nil
	}
	if !tx.ended {
		tx.undo(before)
	}
	if errors.Is(err, ErrDeadlock) {
		tx.failed = err
	}
	return fmt.Errorf("memory: %s: %w", what, err)
}

// undo takes the changes from number n on back, and lets those go on who wait for their rows.
func (tx *Tx) undo(n int) {
	if len(tx.changes) == n {
		return
	}
	for _, c := range slices.Backward(tx.changes[n:]) {
		c.undo()
	}
	clear(tx.changes[n:])
	tx.changes = tx.changes[:n]
	close(tx.freed)
	tx.freed = make(chan struct{})
}

// await waits until other lets rows go. The store is unlocked meanwhile.
func (tx *Tx) await(ctx context.Context, other *Tx) (err error) {
	for o := other; o != nil; o = o.waits {
		if o == tx {
			return ErrDeadlock
		}
	}
	tx.waits = other
	freed := other.freed
	if tx.st.onWait != nil {
		tx.st.onWait()
	}
	tx.st.mu.Unlock()
	defer func() {
		tx.st.mu.Lock()
		tx.waits = nil
		if tx.ended { // by another goroutine than the one that works in it
			err = errEnded
		}
	}()
	select {
	case <-freed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for another transaction: %w", ctx.Err())
	}
}

func (tx *Tx) commit(ctx context.Context) error {
	s := tx.st
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(tx.failed, ctx.Err()); err != nil {
		return fmt.Errorf("memory: commit: the transaction was rolled back: %w", err)
	}
	for _, fn := range tx.onCommit {
		fn()
	}
	for _, c := range tx.changes {
		c.commit(tx)
	}
	tx.end()
	for t, wrote := range tx.wrote {
		if wrote {
			s.outbox.bells[t].Ring(outbox.Now) // it blocks nobody
		}
	}
	return nil
}

func (tx *Tx) rollBack() {
	tx.st.mu.Lock()
	defer tx.st.mu.Unlock()
	if tx.ended {
		return
	}
	for _, c := range slices.Backward(tx.changes) {
		c.undo()
	}
	if tx.asked {
		tx.st.aborted[tx.id] = struct{}{}
	}
	tx.end()
}

func (tx *Tx) end() {
	tx.ended = true
	delete(tx.st.open, tx)
	close(tx.freed)
	tx.changes, tx.onCommit, tx.saves = nil, nil, nil
}

// own answers the store's own transaction in t.
func (s *Store) own(t sqltx.Tx, what string) (*Tx, error) {
	if t.IsZero() {
		return nil, fmt.Errorf("memory: %s: %w", what, sqltx.ErrNoTx)
	}
	tx, ok := t.Native().(*Tx)
	if !ok || tx.st != s {
		return nil, fmt.Errorf("memory: %s: the transaction is of another database; begin it with the DB of this store", what)
	}
	return tx, nil
}
