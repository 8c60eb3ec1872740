package docstest

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root of the repository.
var root = filepath.Join("..", "..")

// records are pages whose SQL and Go are history, and belong to no example.
var records = []string{"design.md", "storage.md", "guarantees.md", "benchmarks.md"}

// page is one file of the documentation.
type page struct {
	path string // below the root
	text string
}

// pages are the documentation: docs, and what stands at the root.
func pages(t *testing.T) (all []page) {
	t.Helper()
	for _, pattern := range []string{"docs/*.md", "*.md"} {
		found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			name, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, page{filepath.ToSlash(name), read(t, path)})
		}
	}
	if len(all) < 3 {
		t.Fatalf("there are %d pages; are they looked for where they are?", len(all))
	}
	return all
}

// pageOf is one page.
func pageOf(t *testing.T, path string) page {
	t.Helper()
	all := pages(t)
	i := slices.IndexFunc(all, func(p page) bool { return p.path == path })
	if i < 0 {
		t.Fatalf("there is no page %s", path)
	}
	return all[i]
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// walk calls fn for everything in the repository but what git keeps, with paths below the root.
func walk(t *testing.T, fn func(path string, d fs.DirEntry) error) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == ".git" {
			return filepath.SkipDir
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		return fn(below, d)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// block is the text between two fences.
type block struct {
	language string
	line     int // of its first line
	text     string
}

func blocks(text string) (all []block) {
	var b *block
	for i, line := range strings.Split(text, "\n") {
		language, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && b == nil:
			language, _, _ = strings.Cut(language, " ")
			b = &block{language: language, line: i + 2}
		case fence:
			all = append(all, *b)
			b = nil
		case b != nil:
			b.text += line + "\n"
		}
	}
	return all
}

// withoutBlocks is a text whose blocks of code are empty lines.
func withoutBlocks(text string) string {
	lines := strings.Split(text, "\n")
	inside := false
	for i, line := range lines {
		fence := strings.HasPrefix(strings.TrimSpace(line), "```")
		if fence {
			inside = !inside
		}
		if fence || inside || strings.HasPrefix(line, "    ") {
			lines[i] = ""
		}
	}
	return strings.Join(lines, "\n")
}

// table has the cells of each row; the first row is the head.
type table struct {
	line int // of the head
	rows [][]string
}

// tables of a page, outside of its blocks.
func tables(p page) (all []table) {
	var now *table
	for i, line := range strings.Split(withoutBlocks(p.text), "\n") {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			now = nil
			continue
		}
		cells := strings.Split(strings.Trim(strings.ReplaceAll(line, `\|`, "\x00"), "|"), "|")
		for i, cell := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cell, "\x00", "|"))
		}
		switch {
		case now == nil:
			all = append(all, table{line: i + 1, rows: [][]string{cells}})
			now = &all[len(all)-1]
		case strings.Trim(cells[0], "-: ") == "" && cells[0] != "":
		default:
			now.rows = append(now.rows, cells)
		}
	}
	return all
}

// underHead answers the rows of the table of a page that has this head, without it.
func underHead(t *testing.T, p page, head ...string) [][]string {
	t.Helper()
	for _, tab := range tables(p) {
		if len(tab.rows[0]) >= len(head) && slices.Equal(tab.rows[0][:len(head)], head) {
			return tab.rows[1:]
		}
	}
	t.Fatalf("%s has no table with the head %q", p.path, head)
	return nil
}
