package docstest

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each package that people can import stands in the tree of the design, and what stands there is there, but for what is not built yet.
func TestDesignNamesEveryPackage(t *testing.T) {
	p := pageOf(t, "docs/design.md")
	var tree string
	for _, b := range blocks(p.text) {
		if strings.HasPrefix(b.text, "sixfold/ ") {
			tree = b.text
		}
	}
	tree, planned, ok := strings.Cut(tree, "not built yet")
	if !ok {
		t.Fatalf("the tree of %s says no more what is not built yet", p.path)
	}
	folder := regexp.MustCompile(`([a-z][a-z/]*)/(?:\s|$)`)
	named := map[string]bool{}
	for _, m := range folder.FindAllStringSubmatch(tree, -1) {
		named[m[1]] = true
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(m[1]))); err != nil && m[1] != "sixfold" { // which is the root
			t.Errorf("the tree of %s has %s, which is not there", p.path, m[1])
		}
	}
	for _, m := range folder.FindAllStringSubmatch(planned, -1) {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(m[1]))); err == nil {
			t.Errorf("the tree of %s says that %s is not built yet, and it is there", p.path, m[1])
		}
	}
	there := packages(t)
	for dir, pkg := range there {
		if dir != "." && !named[dir] && pkg.name != "main" {
			t.Errorf("the tree of %s lacks the package %s", p.path, dir)
		}
	}
	if len(named) < len(there)-5 {
		t.Errorf("%s names %d packages of %d; is the tree looked for as it is written?", p.path, len(named), len(there))
	}
}

// Each package that people can import is somewhere in the documentation.
func TestEveryPackageIsDocumented(t *testing.T) {
	var text strings.Builder
	for _, p := range pages(t) {
		if !slices.Contains(records, filepath.Base(p.path)) {
			text.WriteString(p.text)
		}
	}
	for dir, pkg := range packages(t) {
		if dir == "." || pkg.name == "main" {
			continue
		}
		if !strings.Contains(text.String(), "`"+dir+"`") && !strings.Contains(text.String(), "`"+pkg.name+"`") {
			t.Errorf("no page has `%s`", dir)
		}
	}
}

// The page of the store has each of its tables, and no other.
func TestStoreNamesItsTables(t *testing.T) {
	p := pageOf(t, "docs/store.md")
	made := map[string]bool{"schema_version": true} // before all migrations
	create := regexp.MustCompile(`CREATE TABLE \{\{(\w+)\}\}`)
	scripts, err := filepath.Glob(filepath.Join(root, "store", "migrations", "*", "*.up.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range scripts {
		for _, m := range create.FindAllStringSubmatch(read(t, script), -1) {
			made[m[1]] = true
		}
	}
	if len(made) < 10 {
		t.Fatalf("migrations make %d tables; are they looked for where they are?", len(made))
	}
	for _, row := range underHead(t, p, "table") {
		for _, span := range code.FindAllString(row[0], -1) {
			name := strings.Trim(span, "`")
			if !made[name] {
				t.Errorf("%s has a table %s, which no migration makes", p.path, name)
			}
			delete(made, name)
		}
	}
	for name := range made {
		t.Errorf("%s lacks the table %s", p.path, name)
	}
}

// Migrations that pages speak of are there.
func TestMigrationsExist(t *testing.T) {
	spoken := regexp.MustCompile(`\bmigration (\d+)\b`)
	for _, p := range pages(t) {
		for _, m := range spoken.FindAllStringSubmatch(p.text, -1) {
			pattern := path.Join("store", "migrations", "postgres", strings.Repeat("0", 4-len(m[1]))+m[1]+"_*.up.sql")
			if found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern))); err != nil || len(found) != 1 {
				t.Errorf("%s speaks of migration %s: %d files match %s (%v)", p.path, m[1], len(found), pattern, err)
			}
		}
	}
}

// The page of the benchmarks has each case, and no other.
func TestBenchmarksAreDescribed(t *testing.T) {
	cases := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t\t\{"([a-z0-9-]+)", "`).FindAllStringSubmatch(read(t, filepath.Join(root, "benchmarks", "main.go")), -1) {
		cases[m[1]] = true
	}
	if len(cases) < 20 {
		t.Fatalf("there are %d cases; are they looked for where they are?", len(cases))
	}
	p := pageOf(t, "docs/benchmarks.md")
	described := map[string]bool{}
	for _, tab := range tables(p) {
		if tab.rows[0][0] != "case" {
			continue
		}
		for _, row := range tab.rows[1:] {
			last := "" // that others of the cell, which begin with a dash, vary
			for _, span := range code.FindAllString(row[0], -1) {
				name, _, _ := strings.Cut(strings.Trim(span, "`"), "/")
				switch {
				case name == "": // a part of the one before
					continue
				case strings.HasPrefix(name, "-"):
					name = last[:strings.LastIndexByte(last, '-')] + name
				default:
					last = name
				}
				if !cases[name] {
					t.Errorf("%s:%d describes the case %s, which is not there", p.path, tab.line, name)
				}
				described[name] = true
			}
		}
	}
	for name := range cases {
		if !described[name] && !strings.Contains(name, "memory") { // of those the page speaks as a whole
			t.Errorf("%s does not describe the case %s", p.path, name)
		}
	}
}

// What the code has a list of, a page has whole.
func TestListsAreWhole(t *testing.T) {
	for _, list := range []struct {
		of, files, entry, page string
		least                  int
	}{
		{"reason of dead letters", "bus/consumer_verdict.go", `(?m)^\t\w+ +=\s"([a-z-]+)"$`, "docs/bus.md", 10},
		{"category of faults", "request/category.go", `Category = "(\w+)"`, "docs/protocol.md", 6},
		{"category of faults", "request/category.go", `(?m)^\t(\w+) +Category = "`, "docs/request.md", 6},
		{"outcome of a call", "request/errors.go", `(?m)^\t(Err\w+) += `, "docs/request.md", 8},
		{"check of doctor", "store/examine*.go store/mysql_check.go cmd/sixfold/cli/doctor.go", `(?:report|failed|each|finding)\((?:e\.[a-z.]+, )?"([a-z_]+)"`, "docs/cli.md", 12},
		{"check of doctor", "cmd/sixfold/cli/*.go", `Check: "([a-z_]+)"`, "docs/cli.md", 2},
		{"middleware", "middleware/*.go", `(?m)^func (Recover|Timeout|Logging|Validate\w*|Authorise|Observe|New\w+|Only|Except|When|Typed)\b`, "docs/middleware.md", 12},
		{"option of publishing", "outbox/option.go outbox/delayed.go", `(?m)^func ([A-Z]\w+)\(.*\) Option\b`, "docs/outbox.md", 12},
		{"role", "store/grants.go", `"(sixfold_[a-z]+)"`, "docs/privileges.md", 6},
		{"hook of relays", "outbox/hooks.go", `(?m)^\t([A-Z]\w+) +func\(`, "docs/outbox.md", 8},
	} {
		text := ""
		for _, pattern := range strings.Fields(list.files) {
			found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
			if err != nil || len(found) == 0 {
				t.Fatalf("no file is %s: %v", pattern, err)
			}
			for _, file := range found {
				if !strings.HasSuffix(file, "_test.go") {
					text += read(t, file)
				}
			}
		}
		p := pageOf(t, list.page)
		entries := map[string]bool{}
		for _, m := range regexp.MustCompile(list.entry).FindAllStringSubmatch(text, -1) {
			if entries[m[1]] {
				continue
			}
			entries[m[1]] = true
			if !regexp.MustCompile("`(?:\\w+\\.)?" + m[1] + "(?:`|\\()").MatchString(p.text) {
				t.Errorf("%s lacks the %s %q", p.path, list.of, m[1])
			}
		}
		if len(entries) < list.least {
			t.Errorf("%s has %d entries; is every %s looked for as it is written?", list.files, len(entries), list.of)
		}
	}
}

// Each program that is an example stands in the list of them.
func TestExamplesAreListed(t *testing.T) {
	text := pageOf(t, "docs/examples.md").text
	found := 0
	walk(t, func(file string, _ fs.DirEntry) error {
		file = filepath.ToSlash(file)
		if strings.HasPrefix(file, "itest/examples/") && path.Base(file) == "main.go" {
			found++
			if dir := path.Dir(file); !strings.Contains(text, "(../"+file+")") && !strings.Contains(text, "(../"+path.Dir(dir)+")") {
				t.Errorf("docs/examples.md lacks %s", dir)
			}
		}
		return nil
	})
	if found < 8 {
		t.Errorf("there are %d programs; are they looked for where they are?", found)
	}
}

// The versions of libraries that the documentation names are those that the modules require.
func TestVersionsAreRequired(t *testing.T) {
	modules := map[string][]string{
		"pgx": {"github.com/jackc/pgx/v5"}, "go-sql-driver/mysql": {"github.com/go-sql-driver/mysql"}, "nats.go": {"github.com/nats-io/nats.go"},
		"amqp091-go": {"github.com/rabbitmq/amqp091-go"}, "franz-go": {"github.com/twmb/franz-go"}, "protobuf": {"google.golang.org/protobuf"},
		"aws-sdk-go-v2 (sqs, sns)": {"github.com/aws/aws-sdk-go-v2/service/sqs", "github.com/aws/aws-sdk-go-v2/service/sns"},
		"sqlx":                     {"github.com/jmoiron/sqlx"}, "bun": {"github.com/uptrace/bun"}, "gorm": {"gorm.io/gorm"}, "ent": {"entgo.io/ent"}, "sqlc": nil, // its code is there, and it is not required
	}
	required := map[string]string{}
	walk(t, func(file string, d fs.DirEntry) error {
		if d.Name() == "go.mod" {
			for _, m := range regexp.MustCompile(`(?m)^\t?(?:require )?(\S+) v(\d+\.\d+)\.\S+$`).FindAllStringSubmatch(read(t, filepath.Join(root, file)), -1) {
				required[m[1]] = m[2]
			}
		}
		return nil
	})
	p := pageOf(t, "docs/versions.md")
	for _, row := range underHead(t, p, "library") {
		paths, ok := modules[row[0]]
		if !ok {
			t.Errorf("%s names the library %s, of which this test does not know the path", p.path, row[0])
		}
		var want []string
		for _, path := range paths {
			want = append(want, required[path])
		}
		if len(paths) > 0 && row[2] != strings.Join(want, ", ") {
			t.Errorf("%s says %s %s, and the modules require %s", p.path, row[0], row[2], strings.Join(want, ", "))
		}
	}
	_, version, _ := strings.Cut(read(t, filepath.Join(root, "go.mod")), "\ngo ")
	version, _, _ = strings.Cut(version, "\n")
	for path, text := range map[string]string{"README.md": "Go " + version + " or later", "CONTRIBUTING.md": "Go " + version, "docs/versions.md": "later: " + version} {
		if !strings.Contains(pageOf(t, path).text, text) {
			t.Errorf("%s does not say %q", path, text)
		}
	}
}

// Where files of documentation stand there is a way to them from the README.
func TestEveryPageIsLinked(t *testing.T) {
	linked := map[string]bool{"README.md": true}
	all := pages(t)
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if !linked[p.path] {
				continue
			}
			for _, m := range link.FindAllStringSubmatch(p.text, -1) {
				target, _, _ := strings.Cut(m[1], "#")
				if to := path.Join(path.Dir(p.path), target); target != "" && !linked[to] {
					linked[to], grown = true, true
				}
			}
		}
	}
	for _, p := range all {
		if !linked[p.path] {
			t.Errorf("no link leads from README.md to %s", p.path)
		}
	}
}
