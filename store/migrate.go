package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/sqltx"
)

// Migrations are the steps that make a store's tables.
type Migrations struct {
	s   *Store
	all []Migration
}

// MigrationStatus is one migration as the database knows it.
type MigrationStatus struct {
	Version int
	Name    string
	Applied bool
	// Problem is empty, or says why migrating is refused: altered after it was applied, or unknown to this program.
	Problem string
}

// Migrations answers the migrations of this program with the store's names.
func (s *Store) Migrations() *Migrations { return &s.migrations }

// Migrate brings the tables to this program's version: Migrations().Up.
func (s *Store) Migrate(ctx context.Context) error { return s.migrations.Up(ctx) }

// All answers every migration, for printing.
func (m *Migrations) All() []Migration { return slices.Clone(m.all) }

// Up applies what is missing, each migration in one transaction (on MySQL, which cannot, one that
// was left half done is taken back first), and is safe in any number of processes at once: they
// wait for each other. It changes nothing when a migration was altered, or when a table of one of its names is there
// already. Where nothing is missing it only reads the version table, so that a service may call it with the rights of an application.
// Errors wrap ErrSchema where the tables are to blame.
func (m *Migrations) Up(ctx context.Context) error {
	if m.current(ctx) {
		return nil
	}
	for {
		done := false
		err := m.locked(ctx, func(tx sqltx.Tx) error {
			at, err := m.verified(ctx, tx)
			if err != nil {
				return err
			}
			if at >= len(m.all) {
				done = true
				return nil
			}
			return m.apply(ctx, tx, &m.all[at])
		})
		if err != nil || done {
			return err
		}
	}
}

// current reports whether nothing is missing or wrong, as far as can be seen without a lock. It does not say why not.
func (m *Migrations) current(ctx context.Context) bool {
	all, err := m.Status(ctx)
	if err != nil {
		return false
	}
	for i, st := range all {
		if !st.Applied || i < len(m.all) && st.Problem != "" {
			return false
		}
	}
	return true
}

// Down takes migrations back until version is the newest. It drops tables with everything in them.
func (m *Migrations) Down(ctx context.Context, version int) error {
	if version < 0 || version > len(m.all) {
		return fmt.Errorf("store: migrate down to %d: this program knows 0 to %d", version, len(m.all))
	}
	for {
		done := false
		err := m.locked(ctx, func(tx sqltx.Tx) error {
			at, err := m.verified(ctx, tx)
			if err != nil {
				return err
			}
			if at > len(m.all) {
				return fmt.Errorf("store: migrate down to %d: %w: the schema is at %d, and this program knows %d; use the program that made it", version, ErrSchema, at, len(m.all))
			}
			if at <= version {
				done = true
				return nil
			}
			m.s.log.Info("taking migration back", "version", at, "name", m.all[at-1].Name)
			return m.script(ctx, tx, at, m.all[at-1].Down, fmt.Sprintf("migrate down from %d", at))
		})
		if err != nil || done {
			return err
		}
	}
}

// Status answers every migration that this program or the database knows. It changes nothing.
func (m *Migrations) Status(ctx context.Context) ([]MigrationStatus, error) {
	applied, err := m.applied(ctx, m.s.db.EachRow)
	if err != nil {
		return nil, err
	}
	var out []MigrationStatus
	for i := range m.all {
		out = append(out, MigrationStatus{Version: m.all[i].Version, Name: m.all[i].Name})
	}
	for i, a := range applied {
		if a.version > len(m.all) {
			out = append(out, MigrationStatus{Version: a.version, Name: a.name, Applied: true, Problem: fmt.Sprintf("newer than this program; it serves programs of schema %d and up", a.serves)})
			continue
		}
		st := &out[a.version-1]
		st.Applied = true
		st.Problem = m.problem(i, a)
	}
	return out, nil
}

// appliedMigration is a row of the version table.
type appliedMigration struct {
	version, serves int
	name, checksum  string
}

// problem says what is wrong with the applied migration number i+1 that this program knows.
func (m *Migrations) problem(i int, a appliedMigration) string {
	switch {
	case a.version != i+1:
		return fmt.Sprintf("number %d is applied but %d is not; somebody changed the version table by hand, restore it", a.version, i+1)
	case a.version <= len(m.all) && a.checksum != m.all[i].Checksum:
		return fmt.Sprintf("migration %04d_%s is not the one that was applied (checksum %.12s, here %.12s); build from the release that applied it, or migrate down with that one", a.version, a.name, a.checksum, m.all[i].Checksum)
	}
	return ""
}

type eachRow func(ctx context.Context, q string, args []any, scan func(sqltx.Rows) error) error

// applied answers the rows of the version table, none when the table is not there.
func (m *Migrations) applied(ctx context.Context, each eachRow) (all []appliedMigration, err error) {
	s := m.s
	kind, err := s.dialect.kindOf(ctx, each, s.names, "schema_version")
	if err != nil || kind == "" {
		return nil, failed("look for the version table", err)
	}
	q := s.names.fill("SELECT version, name, checksum, serves FROM {{schema_version}} WHERE version > 0 ORDER BY version")
	if _, ok := s.dialect.(mysql); ok {
		q = myQuoted(q)
	}
	err = each(ctx, q, nil, func(r sqltx.Rows) error {
		var a appliedMigration
		if err := r.Scan(&a.version, &a.name, &a.checksum, &a.serves); err != nil {
			return err
		}
		all = append(all, a)
		return nil
	})
	return all, failed("read the version table", err)
}

// verified answers the version the tables have.
func (m *Migrations) verified(ctx context.Context, tx sqltx.Tx) (int, error) {
	applied, err := m.applied(ctx, tx.Each)
	if err != nil {
		return 0, err
	}
	for i, a := range applied {
		if p := m.problem(i, a); p != "" {
			return 0, fmt.Errorf("store: migrate: %w: %s", ErrSchema, p)
		}
	}
	return len(applied), nil
}

// locked runs fn in a transaction that no other process's overlaps.
func (m *Migrations) locked(ctx context.Context, fn func(sqltx.Tx) error) error {
	if err := m.s.dialect.begin(ctx, m.s); err != nil {
		return err
	}
	return m.s.db.InTx(ctx, func(tx sqltx.Tx) error {
		step, ok := m.s.dialect.(stepwise)
		if ok { // also where lock fails after it has locked
			defer func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
				defer cancel()
				step.unlock(ctx, tx, m.s.names)
			}()
		}
		if err := m.s.dialect.lock(ctx, tx, m.s.names); err != nil {
			return failed("lock the schema for migrating", err)
		}
		if !ok {
			return fn(tx)
		}
		if err := m.takeBackHalf(ctx, tx, step); err != nil {
			return err
		}
		return fn(tx)
	})
}

// A stepwise dialect cannot change the schema in a transaction. It notes what is begun, so that what was left half done is
// taken back by whoever migrates next.
type stepwise interface {
	unlock(ctx context.Context, tx sqltx.Tx, n names)
	half(ctx context.Context, tx sqltx.Tx, n names) (version int, err error)
	note(ctx context.Context, tx sqltx.Tx, n names, version int) error
	ended(ctx context.Context, tx sqltx.Tx, n names) error
}

// takeBackHalf ends a migration that was begun and not ended, by its way down.
func (m *Migrations) takeBackHalf(ctx context.Context, tx sqltx.Tx, step stepwise) error {
	version, err := step.half(ctx, tx, m.s.names)
	switch {
	case err != nil:
		return failed("read the version table", err)
	case version == 0:
		return failed("read the version table", step.ended(ctx, tx, m.s.names))
	case version > len(m.all):
		return fmt.Errorf("store: migrate: %w: migration %d was begun and not ended, and this program does not know it; use the program that began it", ErrSchema, version)
	}
	m.s.log.Info("taking back a migration that was not ended", "version", version)
	if err := run(ctx, tx, m.all[version-1].Down, fmt.Sprintf("take back what was left of migration %d", version)); err != nil {
		return err
	}
	return failed("write the version table", step.ended(ctx, tx, m.s.names))
}

// script runs the way up or down of a migration, noted where that is not a transaction.
func (m *Migrations) script(ctx context.Context, tx sqltx.Tx, version int, script, what string) error {
	step, ok := m.s.dialect.(stepwise)
	if ok {
		if err := step.note(ctx, tx, m.s.names, version); err != nil {
			return failed("write the version table", err)
		}
	}
	err := run(ctx, tx, script, what)
	if err == nil && ok {
		err = failed("write the version table", step.ended(ctx, tx, m.s.names))
	}
	return err
}

func (m *Migrations) apply(ctx context.Context, tx sqltx.Tx, mig *Migration) error {
	var errs []error
	for _, c := range mig.creates {
		if err := m.refuseExisting(ctx, tx, c); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	m.s.log.Info("applying migration", "version", mig.Version, "name", mig.Name)
	return m.script(ctx, tx, mig.Version, mig.Up, fmt.Sprintf("migrate up to %d", mig.Version))
}

func run(ctx context.Context, tx sqltx.Tx, script, what string) error {
	for i, s := range statements(script) {
		if _, err := tx.Exec(ctx, s); err != nil {
			return fmt.Errorf("store: %s: statement %d (%s): %w", what, i+1, firstLine(s), err)
		}
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return quoteCut(strings.TrimSuffix(strings.TrimSpace(line), " ("))
}

// refuseExisting says what stands where a migration would make a table.
func (m *Migrations) refuseExisting(ctx context.Context, tx sqltx.Tx, c created) error {
	s := m.s
	name := s.names.of(c.table)
	kind, err := s.dialect.kindOf(ctx, tx.Each, s.names, c.table)
	switch {
	case err != nil:
		return failed("look for "+name, err)
	case kind == "":
		return nil
	case kind != "table":
		return fmt.Errorf("store: migrate: %w: %s is a %s; rename it, or choose another Schema or Prefix", ErrSchema, name, kind)
	}
	have, err := s.dialect.columnsOf(ctx, tx.Each, s.names, c.table)
	if err != nil {
		return failed("look at the columns of "+name, err)
	}
	missing, other := without(c.columns, have), without(have, c.columns)
	if len(missing) == 0 && len(other) == 0 {
		return fmt.Errorf("store: migrate: %w: %s is there already although no migration made it, as after one that was run in part by hand; drop what it left, or choose another Schema or Prefix", ErrSchema, name)
	}
	return fmt.Errorf("store: migrate: %w: %s is a table of somebody else's (missing columns: %s; other columns: %s); rename it, or choose another Schema or Prefix",
		ErrSchema, name, listOr(missing, "none"), listOr(other, "none"))
}

func without(a, b []string) (out []string) {
	for _, s := range a {
		if !slices.Contains(b, s) {
			out = append(out, s)
		}
	}
	return out
}

func listOr(names []string, none string) string {
	if len(names) == 0 {
		return none
	}
	quoted := make([]string, 0, len(names))
	for _, n := range names {
		quoted = append(quoted, quoteCut(n))
	}
	return strings.Join(quoted, ", ")
}

// check refuses a schema on which this program must not run.
func (m *Migrations) check(ctx context.Context) error {
	applied, err := m.applied(ctx, m.s.db.EachRow)
	if err != nil {
		return err
	}
	for i, a := range applied {
		if p := m.problem(i, a); p != "" {
			return fmt.Errorf("store: check the schema: %w: %s", ErrSchema, p)
		}
	}
	at, need := len(applied), len(m.all)
	switch {
	case at == 0:
		return fmt.Errorf("store: check the schema: %w: there are no tables under %s; %s", ErrSchema, m.s.names.of(""), runMigrations)
	case at < need:
		return fmt.Errorf("store: check the schema: %w: it is at %d and this program needs %d; %s", ErrSchema, at, need, runMigrations)
	case applied[at-1].serves > need:
		return fmt.Errorf("store: check the schema: %w: it is at %d, which serves programs of schema %d and up, and this one is of %d; update the program", ErrSchema, at, applied[at-1].serves, need)
	}
	return nil
}
