package docstest

import (
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
