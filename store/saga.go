package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Sagas is the part of a Store for sagas; it implements saga.Store.
type Sagas struct {
	instances sagaTable
	records   sagaRecords
	passing   func(error) bool
}

var _ saga.Store = (*Sagas)(nil)

// Sagas of the store. Always the same one.
func (s *Store) Sagas() *Sagas { return &s.sagas }

// Instances implements saga.Store.
func (s *Sagas) Instances() saga.InstanceStore { return &s.instances }

// Records implements saga.Store.
func (s *Sagas) Records() saga.RecordStore { return &s.records }

// Passing implements saga.Store.
func (s *Sagas) Passing(err error) bool { return s.passing(err) }

// sagaSQL is what databases do differently for sagas. Its statements are written as those of the scheduler.
type sagaSQL struct {
	*scheduleSQL
	// load and save are one statement each, of their own. Empty: several do. The parameters of save are those of saveArgs, and it answers
	// whether the instance was of its version.
	load, save string
	// peek: a locking read of what is not there keeps others from entering rows beside it, so one that may start is looked for without a lock first.
	peek bool
}

func newSagas(s *Store, d *sagaSQL) Sagas {
	return Sagas{newSagaTable(d), newSagaRecords(d), s.inbox.Passing}
}

// sagaColumns are those of an instance. sagaBrief has none of its content.
const (
	sagaColumns = "saga, correlation, generation, @text(id), version, status, schema_version, step, state, timers, reason, @us(started_at), @us(changed_at), coalesce(@us(ended_at), 0)"
	sagaBrief   = "saga, correlation, generation, @text(id), version, status, schema_version, step, NULL, NULL, reason, @us(started_at), @us(changed_at), coalesce(@us(ended_at), 0)"
)

// scanInstance reads a row of them.
func scanInstance(r sqltx.Rows) (*saga.Instance, error) {
	in := new(saga.Instance)
	var timers []byte
	var started, changed, ended int64
	err := r.Scan(&in.Saga, &in.Key, &in.Generation, &in.ID, &in.Version, &in.Status, &in.Schema, &in.Step, &in.State, &timers, &in.Reason, &started, &changed, &ended)
	if err == nil && len(timers) > 0 {
		if err = json.Unmarshal(timers, &in.Timers); err != nil {
			err = fmt.Errorf("the timers of %s %s cannot be read: %w", in.Saga, quoteCut(in.Key), err)
		}
	}
	in.Started, in.Changed, in.Ended = instant(started), instant(changed), instant(ended)
	return in, err
}

// sagaTable implements saga.InstanceStore.
type sagaTable struct {
	*sagaSQL
	loaded, saved                                    myStatement // where one statement does
	find, look, enter, succeed, update, note, cancel myStatement
}

const sagaEnter = "INTO {{saga}} (saga, correlation, generation, id, version, status, schema_version, step, state, timers, reason, started_at, changed_at) " +
	"VALUES (?1, ?2, ?3, @id(?4), 0, 1, 0, '', ?5, ?5, '', @now, @now)"

func newSagaTable(d *sagaSQL) sagaTable {
	const last = " FROM {{saga}} WHERE saga = ?1 AND correlation = ?2 ORDER BY generation DESC LIMIT 1"
	const key = "saga, correlation, generation"
	t := sagaTable{sagaSQL: d,
		find:    d.statement("SELECT " + sagaColumns + last + " @update"),
		look:    d.statement("SELECT 1" + last),
		enter:   d.statement("INSERT " + sagaEnter + d.upsert(key, []string{"saga"})),
		succeed: d.statement(d.ignore + sagaEnter + d.ignoreTail(key)),
		update: d.statement("UPDATE {{saga}} SET version = version + 1, status = ?5, schema_version = ?6, step = ?7, state = ?8, timers = ?9, reason = ?10, changed_at = @now, " +
			"ended_at = CASE WHEN ?11 = 1 THEN coalesce(ended_at, @now) END WHERE saga = ?1 AND correlation = ?2 AND generation = ?3 AND version = ?4"),
		note:   d.statement("INSERT INTO {{saga_step}} (instance, at, version, kind, step, message, took, detail) VALUES (@id(?1), @now, ?2, ?3, ?4, ?5, ?6, ?7)"),
		cancel: d.statement("DELETE FROM {{delayed}} WHERE id = @id(?1)"),
	}
	if d.cancel != "" {
		t.cancel = d.statement(d.cancel)
	}
	if d.load != "" {
		t.loaded, t.saved = d.statement(d.load), d.statement(d.save)
	}
	return t
}

// one answers the instance that a statement finds, or nil.
func (t *sagaTable) one(ctx context.Context, tx sqltx.Tx, s myStatement, args ...any) (in *saga.Instance, err error) {
	err = t.each(ctx, tx, s, func(r sqltx.Rows) (err error) {
		in, err = scanInstance(r)
		return err
	}, args...)
	return in, err
}

// Load implements saga.InstanceStore.
func (t *sagaTable) Load(ctx context.Context, tx sqltx.Tx, name, key, fresh string) (in *saga.Instance, err error) {
	if t.load != "" {
		in, err = t.one(ctx, tx, t.loaded, name, key, orNil(fresh))
	} else {
		in, err = t.loadByParts(ctx, tx, name, key, fresh)
	}
	return in, failed("load an instance", err)
}

func (t *sagaTable) loadByParts(ctx context.Context, tx sqltx.Tx, name, key, fresh string) (*saga.Instance, error) {
	there := true
	if fresh != "" && t.peek {
		there = false
		if err := t.each(ctx, tx, t.look, func(sqltx.Rows) error { there = true; return nil }, name, key); err != nil {
			return nil, err
		}
	}
	if there {
		if in, err := t.one(ctx, tx, t.find, name, key); err != nil || in != nil || fresh == "" {
			return in, err
		}
	}
	if _, err := t.exec(ctx, tx, t.enter, name, key, 1, fresh, []byte{}); err != nil {
		return nil, err
	}
	in, err := t.one(ctx, tx, t.find, name, key) // ours, or that of whoever was first
	if err == nil && in == nil {
		err = saga.ErrConflict
	}
	return in, err
}

// Succeed implements saga.InstanceStore.
func (t *sagaTable) Succeed(ctx context.Context, tx sqltx.Tx, ended *saga.Instance, fresh string) (*saga.Instance, error) {
	n, err := t.exec(ctx, tx, t.succeed, ended.Saga, ended.Key, ended.Generation+1, fresh, []byte{})
	if err == nil && n == 0 {
		err = saga.ErrConflict
	}
	var in *saga.Instance
	if err == nil {
		in, err = t.one(ctx, tx, t.find, ended.Saga, ended.Key)
	}
	if err == nil && (in == nil || in.ID != fresh) {
		err = saga.ErrConflict
	}
	if err != nil {
		return nil, failed("begin an instance again", err)
	}
	return in, nil
}

// Save implements saga.InstanceStore.
func (t *sagaTable) Save(ctx context.Context, tx sqltx.Tx, in *saga.Instance, e *saga.Entry) error {
	timers, err := json.Marshal(in.Timers)
	if err != nil || len(in.Timers) == 0 {
		timers = []byte{}
	}
	entry, eerr := entryArgs(nil, e)
	if err == nil {
		err = eerr
	}
	done := false
	args := []any{in.Saga, in.Key, in.Generation, in.Version, int(in.Status), in.Schema, in.Step, orEmpty(in.State), timers, in.Reason, boolInt(in.Status.Final())}
	switch {
	case err != nil:
	case t.save != "":
		err = t.each(ctx, tx, t.saved, func(r sqltx.Rows) error { return r.Scan(&done) }, append(args, entry...)...)
	default:
		var n int64
		n, err = t.exec(ctx, tx, t.update, args...)
		if done = n > 0; done && err == nil {
			_, err = t.exec(ctx, tx, t.note, entry...)
		}
	}
	if err == nil && !done {
		err = saga.ErrConflict
	}
	if err == nil {
		in.Version++
	}
	return failed("save an instance", err)
}

// Note implements saga.InstanceStore.
func (t *sagaTable) Note(ctx context.Context, tx sqltx.Tx, e *saga.Entry) error {
	args, err := entryArgs(nil, e)
	if err == nil {
		_, err = t.exec(ctx, tx, t.note, args...)
	}
	return failed("note in the journal of an instance", err)
}

// CancelTimers implements saga.InstanceStore. It waits for a transaction that is moving one of them.
func (t *sagaTable) CancelTimers(ctx context.Context, tx sqltx.Tx, ids []string) error {
	for _, id := range ids {
		if _, err := t.exec(ctx, tx, t.cancel, id); err != nil {
			return failed("cancel timers", err)
		}
	}
	return nil
}

// entryArgs adds what Note writes.
func entryArgs(args []any, e *saga.Entry) ([]any, error) {
	detail, err := json.Marshal(&e.Detail)
	return append(args, e.Instance, e.Version, int(e.Kind), e.Step, e.Message, e.Took.Microseconds(), detail), err
}

func orEmpty(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func microseconds(us int64) time.Duration { return time.Duration(us) * time.Microsecond }
