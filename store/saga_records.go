package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/sqltx"
)

// sagaRecords implements saga.RecordStore.
type sagaRecords struct {
	*sagaSQL
	history, counts, countsOf, schemas, old, dropSteps, drop myStatement
}

func newSagaRecords(d *sagaSQL) sagaRecords {
	const counted = "SELECT saga, status, step, count(*) FROM {{saga}} "
	const grouped = "GROUP BY saga, status, step ORDER BY saga, status, step"
	return sagaRecords{sagaSQL: d,
		history:  d.statement("SELECT n, @us(at), version, kind, step, message, took, detail FROM {{saga_step}} WHERE instance = @id(?1) AND n > ?2 ORDER BY n LIMIT ?3"),
		counts:   d.statement(counted + grouped),
		countsOf: d.statement(counted + "WHERE saga = ?1 " + grouped),
		schemas:  d.statement("SELECT saga, schema_version, count(*) FROM {{saga}} WHERE ended_at IS NULL GROUP BY saga, schema_version ORDER BY saga, schema_version"),
		old: d.statement("SELECT saga, correlation, generation, @text(id) FROM {{saga}} WHERE ended_at IS NOT NULL AND ended_at < @ago(?1) " +
			"ORDER BY ended_at LIMIT ?2 @skip"),
		dropSteps: d.statement("DELETE FROM {{saga_step}} WHERE instance = @id(?1)"),
		drop:      d.statement("DELETE FROM {{saga}} WHERE saga = ?1 AND correlation = ?2 AND generation = ?3"),
	}
}

// List implements saga.RecordStore.
func (t *sagaRecords) List(ctx context.Context, f saga.Filter, p saga.Page) (all []saga.Instance, err error) {
	columns := sagaBrief
	if f.Full {
		columns = sagaColumns
	}
	var where []string
	var args []any
	and := func(condition string, values ...any) {
		where = append(where, shifted(condition, len(args)))
		args = append(args, values...)
	}
	if f.Saga != "" {
		and("saga = ?1", f.Saga)
	}
	if f.Key != "" {
		and("correlation = ?1", f.Key)
	}
	and("(saga > ?1 OR saga = ?1 AND (correlation > ?2 OR correlation = ?2 AND generation > ?3))", p.AfterSaga, p.AfterKey, p.AfterGeneration)
	if f.ID != "" {
		and("id = @id(?1)", f.ID)
	}
	if f.Step != "" {
		and("step = ?1", f.Step)
	}
	if f.Status != 0 {
		and("status = ?1", int(f.Status))
	}
	if f.Live {
		and("status < ?1", int(saga.Completed))
	}
	if f.Idle > 0 {
		and("changed_at < @ago(?1)", f.Idle.Microseconds())
	}
	sql := "SELECT " + columns + " FROM {{saga}} WHERE " + strings.Join(where, " AND ") +
		fmt.Sprintf(" ORDER BY saga, correlation, generation LIMIT ?%d", len(args)+1)
	err = t.rows(ctx, t.statement(sql), func(r sqltx.Rows) error {
		in, err := scanInstance(r)
		all = append(all, *in)
		return err
	}, append(args, p.Limit)...)
	return all, failed("list instances", err)
}

// History implements saga.RecordStore.
func (t *sagaRecords) History(ctx context.Context, id string, after int64, limit int) (all []saga.Entry, err error) {
	err = t.rows(ctx, t.history, func(r sqltx.Rows) error {
		e := saga.Entry{Instance: id}
		var at, took int64
		var detail []byte
		if err := r.Scan(&e.N, &at, &e.Version, &e.Kind, &e.Step, &e.Message, &took, &detail); err != nil {
			return err
		}
		e.At, e.Took = instant(at), microseconds(took)
		if err := json.Unmarshal(detail, &e.Detail); err != nil {
			return fmt.Errorf("entry %d cannot be read: %w", e.N, err)
		}
		all = append(all, e)
		return nil
	}, id, after, limit)
	return all, failed("read the journal of an instance", err)
}

// Counts implements saga.RecordStore.
func (t *sagaRecords) Counts(ctx context.Context, name string) (all []saga.Count, err error) {
	scan := func(r sqltx.Rows) error {
		var c saga.Count
		err := r.Scan(&c.Saga, &c.Status, &c.Step, &c.N)
		all = append(all, c)
		return err
	}
	if name == "" {
		err = t.rows(ctx, t.counts, scan)
	} else {
		err = t.rows(ctx, t.countsOf, scan, name)
	}
	return all, failed("count instances", err)
}

// Schemas implements saga.RecordStore.
func (t *sagaRecords) Schemas(ctx context.Context) (all []saga.SchemaCount, err error) {
	err = t.rows(ctx, t.schemas, func(r sqltx.Rows) error {
		var c saga.SchemaCount
		err := r.Scan(&c.Saga, &c.Schema, &c.N)
		all = append(all, c)
		return err
	})
	return all, failed("count instances", err)
}

// Purge implements saga.RecordStore.
func (t *sagaRecords) Purge(ctx context.Context, keep time.Duration, limit int) (n int, err error) {
	err = t.db.InTx(ctx, func(tx sqltx.Tx) error {
		var old []saga.Instance
		err := t.each(ctx, tx, t.old, func(r sqltx.Rows) error {
			var in saga.Instance
			err := r.Scan(&in.Saga, &in.Key, &in.Generation, &in.ID)
			old = append(old, in)
			return err
		}, keep.Microseconds(), limit)
		for i := 0; i < len(old) && err == nil; i++ {
			in := &old[i]
			if _, err = t.exec(ctx, tx, t.dropSteps, in.ID); err == nil {
				_, err = t.exec(ctx, tx, t.drop, in.Saga, in.Key, in.Generation)
			}
		}
		n = len(old)
		return err
	})
	if err != nil {
		n = 0
	}
	return n, failed("purge instances", err)
}
