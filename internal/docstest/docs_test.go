package docstest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// normal is text without blank lines and indentation, each line between two line ends.
func normal(text string) string {
	var b strings.Builder
	b.WriteByte('\n')
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// examples are the normal texts of files whose code is run by tests.
func examples(t *testing.T, is func(path string) bool) (texts []string) {
	t.Helper()
	walk(t, func(path string, d fs.DirEntry) error {
		if !d.IsDir() && is("/"+filepath.ToSlash(path)) {
			texts = append(texts, normal(read(t, filepath.Join(root, path))))
		}
		return nil
	})
	if len(texts) == 0 {
		t.Fatal("there are no examples; are they looked for where they are?")
	}
	return texts
}

func isGoExample(path string) bool {
	return strings.Contains(path, "/example_") && strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "/conformance_test.go") || strings.HasSuffix(path, "/sixfoldtest/saga_test.go") ||
		strings.Contains(path, "/itest/examples/") && strings.HasSuffix(path, ".go")
}

func isSQLExample(path string) bool {
	return strings.Contains(path, "/itest/examples/testdata/") && strings.HasSuffix(path, ".sql")
}

// What the documentation shows is part of something that runs, word for word.
func TestCodeIsOfExamples(t *testing.T) {
	sources := map[string][]string{"go": examples(t, isGoExample), "sql": examples(t, isSQLExample)}
	for _, p := range pages(t) {
		if slices.Contains(records, filepath.Base(p.path)) {
			continue
		}
		for _, b := range blocks(p.text) {
			texts, checked := sources[b.language]
			part := normal(b.text)
			if checked && !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, part) }) {
				t.Errorf("%s:%d: this %s is not in any example that is run; add it there, or copy from there:\n%s", p.path, b.line, b.language, b.text)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	for _, p := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(p.text, -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			path := filepath.Join(root, filepath.Dir(p.path), filepath.FromSlash(target))
			if target == "" {
				path = filepath.Join(root, filepath.FromSlash(p.path))
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s, which is not there", p.path, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, path)), anchor) {
				t.Errorf("%s links to %s, which has no such heading", p.path, m[1])
			}
		}
	}
}

var notInAnchors = regexp.MustCompile(`[^a-z0-9 _-]`)

// anchors of the headings of a page, as code forges make them.
func anchors(text string) (all []string) {
	for line := range strings.Lines(text) {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			a := notInAnchors.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			all = append(all, strings.ReplaceAll(a, " ", "-"))
		}
	}
	return all
}
