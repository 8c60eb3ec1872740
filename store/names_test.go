package store

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/sqltx"
)

type noDB struct{ sqltx.Runner }

func TestNames(t *testing.T) {
	p := maxIdentifier - len(longestObject)
	for _, c := range []struct {
		schema, prefix, want string // want empty: taken
	}{
		{"", "", ""}, {"Order", "My Table-", ""}, {"select", "1abc", ""}, {"схема", "🔑", ""}, {strings.Repeat("s", 63), strings.Repeat("p", p), ""},
		{strings.Repeat("s", 64), "", "64 bytes, the limit is 63"}, {"", strings.Repeat("p", p+1), "shorten it"}, {strings.Repeat("я", 32), "", "64 bytes"},
		{"a.b.c", "", "contains a dot"}, {"", "outbox; DROP TABLE users--", `contains ';'`}, {`a"b`, "", `contains '"'`}, {"a`b", "", "contains '`'"}, {"a'b", "", "contains"},
		{"[a]", "", "contains"}, {"a\x00b", "", "contains"}, {"a\nb", "", "contains"}, {"a\xffb", "", "UTF-8"}, {"", "$sixfold$", "contains '$'"}, {"", "{{outbox}}", "contains '{'"},
	} {
		_, err := Postgres(noDB{}, &Options{Schema: c.schema, Prefix: c.prefix})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("schema %q, prefix %q: %v; want %q", c.schema, c.prefix, err, c.want)
		}
	}
}

func TestBadOptionsAreAllNamed(t *testing.T) {
	_, err := Postgres(nil, &Options{Schema: "a.b", Prefix: "c;", KeepDelivered: -1})
	for _, want := range []string{"Schema", "Prefix", "KeepDelivered", "database is nil"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not name %s", err, want)
		}
	}
	if _, err := Postgres(sqltx.StdDB(nil), nil); err == nil {
		t.Error("a DB of a nil *sql.DB was taken")
	}
	if _, err := SQLite(noDB{}, &Options{Schema: "main"}); err == nil {
		t.Error("SQLite took a schema")
	}
}

func TestFill(t *testing.T) {
	n := names{`Or"der`, "my "}
	got := n.fill("{{outbox}} {{bare outbox_pkey}} {{literal local}} {x} {{ y }}")
	if want := `"Or""der"."my outbox" "my outbox_pkey" '"Or""der"."my local"' {x} {{ y }}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := (names{"", "p_"}).fill("{{outbox}}"); got != `"p_outbox"` {
		t.Errorf("without a schema: %s", got)
	}
}

// [OddTableNames]: no name that a migration makes is longer than the one that limits the prefix, and none is unquoted.
func TestMigrationNamesFit(t *testing.T) {
	found := regexp.MustCompile(`\{\{(?:bare |literal )?([^}]*)\}\}`)
	objects := regexp.MustCompile(`(?m)^(?:CREATE|DROP) (?:TABLE|INDEX|FUNCTION|VIEW|TYPE|SEQUENCE) ([^ ({]+)`)
	longest := 0
	err := fs.WalkDir(migrationFiles, "migrations", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := readNormal(path)
		for _, m := range found.FindAllStringSubmatch(text, -1) {
			longest = max(longest, len(m[1]))
		}
		if m := objects.FindStringSubmatch(strings.ReplaceAll(text, " IF EXISTS", "")); m != nil {
			t.Errorf("%s: %s is not quoted", path, m[1])
		}
		return err
	})
	if err != nil || longest != len(longestObject) {
		t.Errorf("the longest name has %d bytes, longestObject has %d; %v", longest, len(longestObject), err)
	}
}

func TestMigrationsAreWellFormed(t *testing.T) {
	for _, dir := range []string{"postgres", "sqlite", "mysql"} {
		all, err := loadMigrations(dir, names{"s", "p_"})
		if err != nil || len(all) == 0 {
			t.Fatal(err)
		}
		for _, m := range all {
			if strings.Contains(m.Up+m.Down, "{{") {
				t.Errorf("%s %d: a name was not filled in", dir, m.Version)
			}
			if m.Serves < 1 || m.Serves > m.Version || len(m.Checksum) != 64 {
				t.Errorf("%s %d: serves %d, checksum %q", dir, m.Version, m.Serves, m.Checksum)
			}
			ups, downs := statements(m.Up), statements(m.Down)
			if !strings.HasPrefix(ups[len(ups)-1], "INSERT INTO") || !strings.HasPrefix(downs[len(downs)-1], "DELETE FROM") {
				t.Errorf("%s %d: a script does not end with its entry in the version table", dir, m.Version)
			}
			for _, s := range append(ups, downs...) {
				if dir == "mysql" && strings.HasPrefix(s, "DROP ") && !strings.HasPrefix(s, "DROP TABLE IF EXISTS ") {
					t.Errorf("%s %d: %q fails where the way up was ended half way; write IF EXISTS", dir, m.Version, s)
				}
				if !strings.HasPrefix(s, "CREATE ") && !strings.HasPrefix(s, "DROP ") && !strings.HasPrefix(s, "INSERT ") && !strings.HasPrefix(s, "DELETE ") && !strings.HasSuffix(s, "SET STORAGE EXTERNAL") {
					t.Errorf("%s %d: a statement begins %q", dir, m.Version, s[:min(40, len(s))])
				}
			}
		}
	}
	all, err := loadMigrations("postgres", names{"s", ""})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all[0].creates {
		if len(c.columns) < 3 {
			t.Errorf("table %s has the columns %v", c.table, c.columns)
		}
	}
	if len(all[0].creates) != 11 {
		t.Errorf("%d tables were found in the first migration", len(all[0].creates))
	}
}

func TestStatements(t *testing.T) {
	got := statements("-- a comment;\nCREATE TABLE a (\n  b int\n);\nCREATE FUNCTION f AS $sixfold$\nBEGIN\n  -- kept\n  RETURN 1;\nEND\n$sixfold$;\n\nDROP TABLE a;\n")
	want := []string{"CREATE TABLE a (\n  b int\n)", "CREATE FUNCTION f AS $sixfold$\nBEGIN\n  -- kept\n  RETURN 1;\nEND\n$sixfold$", "DROP TABLE a"}
	if strings.Join(got, "\x00") != strings.Join(want, "\x00") {
		t.Errorf("got %q", got)
	}
}
