package privileges

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/itest/tables"
	"github.com/sixfold-go/sixfold/sqltx"
)

// hostile makes a schema with tables, functions and operators of the names that Sixfold uses; whatever runs one of them
// fails, and whatever reads one of the tables finds no column. Their types are those of the calls, so that they would be
// preferred over what has to convert.
func (w *world) hostile() {
	w.exec(`CREATE SCHEMA evil; CREATE FUNCTION evil.hijacked() RETURNS integer LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$`)
	for _, t := range append(tables.Names(), "schema_version") {
		w.exec("CREATE TABLE evil." + t + " (mine integer)")
	}
	for _, f := range []string{
		"now() RETURNS timestamptz", "clock_timestamp() RETURNS timestamptz", "statement_timestamp() RETURNS timestamptz", "floor(numeric) RETURNS numeric", "octet_length(bytea) RETURNS integer", "substr(bytea, integer, integer) RETURNS bytea",
		"cardinality(anyarray) RETURNS integer", "unnest(anyarray) RETURNS SETOF anyelement", "generate_series(integer, integer) RETURNS SETOF integer",
		"array_fill(anyelement, integer[]) RETURNS anyarray", "convert_to(text, name) RETURNS bytea", "get_byte(bytea, integer) RETURNS integer",
		"random() RETURNS double precision", "floor(double precision) RETURNS double precision", "jsonb_typeof(jsonb) RETURNS text", "quote_nullable(text) RETURNS text",
		"jsonb_strip_nulls(jsonb) RETURNS jsonb", "to_char(timestamp, text) RETURNS text", "left(text, integer) RETURNS text", "gen_random_uuid() RETURNS uuid",
		"partition_of(text) RETURNS smallint", "outbox_read(bigint, integer, text, bigint) RETURNS integer", "lease_take(text, uuid, integer, boolean, boolean) RETURNS integer",
	} {
		w.exec("CREATE FUNCTION evil." + f + " LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$")
	}
	for _, o := range []struct{ name, left, right, result string }{
		{"=", "bigint", "bigint", "boolean"}, {"=", "text", "text", "boolean"}, {"=", "uuid", "uuid", "boolean"}, {"=", "smallint", "smallint", "boolean"},
		{"=", "bytea", "bytea", "boolean"}, {"=", "integer", "integer", "boolean"}, {"<>", "text", "text", "boolean"}, {"<>", "bytea", "bytea", "boolean"},
		{">", "bigint", "bigint", "boolean"}, {"<=", "bigint", "bigint", "boolean"}, {"<", "timestamptz", "timestamptz", "boolean"}, {"&", "bigint", "integer", "bigint"},
		{"&", "bigint", "bigint", "bigint"}, {"&", "smallint", "integer", "integer"}, {">>", "bigint", "smallint", "bigint"}, {">>", "bigint", "integer", "bigint"},
		{"#", "bigint", "bigint", "bigint"}, {"*", "integer", "integer", "integer"}, {"+", "integer", "integer", "integer"}, {"+", "smallint", "integer", "integer"},
		{"/", "integer", "integer", "integer"}, {"~", "text", "text", "boolean"}, {"!~", "text", "text", "boolean"}, {"||", "anyarray", "anyarray", "anyarray"},
		// These have no counterpart, so an argument that would have to be converted finds them although pg_catalog comes first.
		{"*", "bigint", "interval", "interval"}, {"*", "numeric", "integer", "numeric"}, {"/", "numeric", "integer", "numeric"},
		{"/", "bigint", "numeric", "numeric"}, {"+", "timestamptz", "bigint", "timestamptz"}, {"*", "double precision", "integer", "double precision"},
	} {
		fn := strings.ReplaceAll(fmt.Sprintf("evil.%s_%s_%s", operatorName(o.name), o.left, o.right), " ", "_")
		w.exec(fmt.Sprintf("CREATE FUNCTION %s(%s, %s) RETURNS %s LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$", fn, o.left, o.right, o.result))
		w.exec(fmt.Sprintf("CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = %s)", o.name, o.left, o.right, fn))
	}
	w.exec("GRANT USAGE ON SCHEMA evil TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA evil TO PUBLIC")
}

func operatorName(symbols string) string {
	return strings.NewReplacer("=", "eq", "<", "lt", ">", "gt", "!", "not", "~", "like", "&", "and", "#", "xor", "*", "mul", "+", "add", "/", "div", "|", "cat").Replace(symbols)
}

// Shadowing names change nothing for any role: tables are named with their schema.
func TestHostileSearchPathChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.hostile()
	for name, d := range w.duties() {
		p := w.connect(d.role, "evil, public")
		st := w.store(p)
		for what, do := range d.jobs {
			w.must(w.seed(t.Context()))
			if err := do(t.Context(), w, sqltx.PgxDB(p), st); err != nil {
				t.Errorf("%s cannot do %s with a hostile search_path: %v", name, what, err)
			}
		}
	}
}

// With pg_catalog behind it the hostile schema owns every function and operator of a statement. Functions of the schema bring
// their own search_path along.
func TestFunctionsBringTheirSearchPath(t *testing.T) {
	w := newWorld(t)
	w.hostile()
	w.must(w.seed(t.Context()))
	p := w.connect("", "evil, pg_catalog")
	if _, err := p.Exec(t.Context(), "SELECT 1 = 1"); err == nil || !strings.Contains(err.Error(), "hijacked") {
		t.Fatalf("the hostile schema is not asked first: %v", err)
	}
	node := "'00000000-0000-7000-8000-000000000001'::uuid"
	w.exec("INSERT INTO sixfold.node (class, id, until) SELECT c, i::uuid, now() + interval '1 hour' FROM (VALUES ('', '00000000-0000-7000-8000-000000000001'), ('shipping', '00000000-0000-7000-8000-000000000002')) v(c, i)")
	w.exec("INSERT INTO sixfold.lease (class, partition, suspect) SELECT 'shipping', p, 1000000 FROM generate_series(0, 63) p")
	for _, q := range []string{
		"sixfold.outbox_read(0::bigint, 100, '', -1::bigint)", "sixfold.local_read(0::bigint, 100, 'shipping', -1::bigint)",
		"sixfold.outbox_look_up(NULL, '{1}', '{9000}', 100, '', -1::bigint)", "sixfold.local_look_up('{1,2,3}', NULL, NULL, 100, 'shipping', -1::bigint)",
		"sixfold.outbox_settle(" + node + ", '{1}', true)", "sixfold.local_settle(" + node + ", '{1}', false)",
		"sixfold.outbox_claim(" + node + ", '{2}', true)", "sixfold.local_claim(" + node + ", '{2}', true)",
		"sixfold.lease_take('shipping', '00000000-0000-7000-8000-000000000002'::uuid, 64, true, true)",
		"sixfold.inbox_record('c', pg_catalog.decode(pg_catalog.repeat('ab', 32), 'hex'), '{k}')",
		"sixfold.publish('orders', 'a.b', '\\x7b7d'::bytea, 'k'::text)", "sixfold.publish_local('shipping', 'a.b', '\\x7b7d'::bytea, 'k'::text)",
		"sixfold.partition_of('k')",
	} {
		if _, err := p.Exec(t.Context(), "SELECT "+q); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
	var without int
	w.must(w.owner.QueryRow(t.Context(), "SELECT count(*) FROM pg_proc WHERE pronamespace = 'sixfold'::regnamespace AND NOT coalesce(array_to_string(proconfig, ';'), '') LIKE '%search_path=pg_catalog, pg_temp%'").Scan(&without))
	if without != 0 {
		t.Errorf("%d functions trust the caller's search_path", without)
	}
}
