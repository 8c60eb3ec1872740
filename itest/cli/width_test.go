package cli

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// tooWide are the lines of a text with more characters than that which could have been broken.
func tooWide(text string, columns int) (all []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if utf8.RuneCountInString(line) > columns && strings.Contains(strings.TrimSpace(line), " ") {
			all = append(all, line)
		}
	}
	return all
}

// words are those of a text, whatever its lines.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }

// With forty columns no line is longer, and nothing is lost; the ids stay whole, since people copy them.
func TestFortyColumns(t *testing.T) {
	r := newRunner(t, "SIXFOLD_DSN=sqlite:"+filepath.Join(t.TempDir(), "a.db"))
	const id = "0190a000-0000-7000-8000-00000000000a"
	for _, args := range [][]string{{"migrate", "up"}, {"outbox", "publish", "--topic", "orders.of.the.whole.shop", "--type", "orders.placed", "--id", id, "--header", "h=a value of some words that is long"}} {
		if got := r.run(args...); got.code != 0 {
			t.Fatal(got.err)
		}
	}
	narrow := r.with("COLUMNS=40")
	for _, args := range [][]string{
		nil, {"--help"}, {"outbox"}, {"outbox", "purge", "--help"}, {"outbox", "show", "--help"}, {"bus", "declare", "--help"}, {"doctor", "--help"}, {"migrate", "down", "--help"}, {"grants", "--help"},
		{"doctor"}, {"outbox", "list"}, {"outbox", "stats"}, {"migrate", "status"}, {"outbox", "list", "--limit", "0"}, {"outbox", "purge", "--all"}, {"outbx"}, {"--dsn", "postgres://u:secret@10.255.255.1/db", "outbox", "stats"},
	} {
		got, wide := narrow.run(args...), r.run(args...)
		if got.code != wide.code {
			t.Errorf("%v: code %d, without COLUMNS %d", args, got.code, wide.code)
		}
		for _, line := range tooWide(got.all(), 40) {
			t.Errorf("%v: %d columns: %q", args, utf8.RuneCountInString(line), line)
		}
		if len(args) == 2 && args[0] == "outbox" && args[1] == "list" {
			if !strings.Contains(got.out, "\nID: "+id+"\n") || !strings.Contains(got.out, "TO: orders.of.the.whole.shop\n") {
				t.Errorf("the list is\n%s", got.out)
			}
			continue
		}
		if args != nil && args[0] != "doctor" && args[0] != "outbox" && args[0] != "migrate" && words(got.all()) != words(wide.all()) {
			t.Errorf("%v says something else:\n%s\nand without COLUMNS\n%s", args, got.all(), wide.all())
		}
	}
	// What people copy is never broken, whatever the width.
	got := narrow.run("outbox", "show", id)
	for _, want := range []string{"id: " + id + "\n", "topic: orders.of.the.whole.shop\n", "header h: a value of some words that is long\n"} {
		if !strings.Contains(got.out, want) {
			t.Errorf("%q is not in\n%s", want, got.out)
		}
	}
	if a, b := narrow.run("migrate", "print"), r.run("migrate", "print"); a.out != b.out {
		t.Error("the SQL is broken at 40 columns")
	}
	if a, b := narrow.run("--format", "json", "outbox", "list", "--limit", "0"), r.run("--format", "json", "outbox", "list", "--limit", "0"); a.err != b.err {
		t.Error("JSON is broken at 40 columns")
	}
	// In between findings stay in their columns.
	sixty := r.with("COLUMNS=70").run("doctor")
	if lines := tooWide(sixty.all(), 70); lines != nil || !strings.Contains(sixty.out, "\n"+fmt.Sprintf("%22s fix: ", "")) {
		t.Errorf("%q in\n%s", lines, sixty.out)
	}
}

// Without COLUMNS, through a pipe, lines stay whole, and so they do with nonsense in it.
func TestPipesGetWholeLines(t *testing.T) {
	r := newRunner(t, "SIXFOLD_DSN=sqlite:"+filepath.Join(t.TempDir(), "a.db"))
	want := r.run("outbox", "purge", "--help").out
	if len(tooWide(want, 80)) == 0 {
		t.Error("no line is long; what does this test show?")
	}
	for _, columns := range []string{"0", "-1", "5", "wide", "1000000"} {
		if got := r.with("COLUMNS="+columns).run("outbox", "purge", "--help"); words(got.out) != words(want) || columns != "1000000" && got.out != want {
			t.Errorf("COLUMNS=%s: %q", columns, got.all())
		}
	}
}
