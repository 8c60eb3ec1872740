package store

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What is filled in by hand is what regular expressions say, in texts of pieces that are words, nearly words, and what stands between.
func TestReplacedAsByRegularExpressions(t *testing.T) {
	var (
		name      = regexp.MustCompile(`\{\{(bare |literal )?([a-z_0-9]+)\}\}`)
		parameter = regexp.MustCompile(`\?(\d+)`)
		word      = regexp.MustCompile(`@(at|us|in|ago|id|text)\(([^()]*)\)|@(now|clock|update|skip)\b`)
		reserved  = regexp.MustCompile("(^|[^.`\\w$])(key|partition|before)\\b")
	)
	n := names{"app", "p_"}
	call := func(f string) func(string) string { return func(x string) string { return "<" + f + " " + x + ">" } }
	w := scheduleWords{now: "<now>", clock: "<clock>", lock: "<update>", skip: "<skip>", at: call("at"), us: call("us"), in: call("in"), ago: call("ago"), id: call("id"), text: call("text")}
	pieces := []string{"{{", "}}", "{", "}", "bare", "bare ", "literal ", "other ", "outbox", "dead_letter_2", "Out", " ", "(", ")", ", ", ".", "`", "$", "=", "\n", "?", "?1", "?12", "1", "0", "x", "_",
		"@", "@now", "@clock", "@update", "@skip", "@skipped", "@at", "@us(", "@in(?2)", "@ago(", "@id", "@text(", "@at(due_at)", "@nothing(1)", "key", "partition", "before", "keys", "o.key", "{{outbox}}", "{{bare local}}", "{{literal local}}", "é"}
	same := func(what, text, got, want string) {
		t.Helper()
		if got != want {
			t.Fatalf("%s of %q: %q, a regular expression says %q", what, text, got, want)
		}
	}
	changed := [4]int{}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		var b strings.Builder
		for range 1 + rng.IntN(9) {
			b.WriteString(pieces[rng.IntN(len(pieces))])
		}
		text := b.String()
		wants := [...]string{
			name.ReplaceAllStringFunc(text, func(m string) string {
				p := name.FindStringSubmatch(m)
				return map[string]string{"": n.of(p[2]), "bare ": n.bare(p[2]), "literal ": quoteLiteral(n.of(p[2]))}[p[1]]
			}),
			parameter.ReplaceAllString(text, "$$$1"),
			word.ReplaceAllStringFunc(text, func(m string) string {
				p := word.FindStringSubmatch(m)
				if p[1] != "" {
					return call(p[1])(p[2])
				}
				return "<" + p[3] + ">"
			}),
			reserved.ReplaceAllString(text, "$1`$2`"),
		}
		same("names", text, n.fill(text), wants[0])
		same("dollars", text, dollars(text), parameter.ReplaceAllStringFunc(text, func(p string) string {
			n, _ := strconv.Atoi(p[1:])
			return "$" + strconv.Itoa(n)
		}))
		same("words", text, w.fill(text), wants[2])
		same("reserved columns", text, myQuotedColumns(text), wants[3])
		for i, want := range wants {
			if want != text {
				changed[i]++
			}
		}
	}
	for i, n := range changed {
		if n < 1000 {
			t.Errorf("kind %d was replaced in %d texts", i, n)
		}
	}
}
