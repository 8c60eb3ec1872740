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

// commands are the lines of a page that are for a shell.
func commands(p page) (all []string) {
	for _, b := range blocks(p.text) {
		if b.language == "sh" || b.language == "" {
			all = append(all, strings.Split(strings.TrimRight(b.text, "\n"), "\n")...)
		}
	}
	for _, span := range spans(p) {
		all = append(all, strings.Trim(span, "`"))
	}
	for line := range strings.Lines(p.text) {
		if text, ok := strings.CutPrefix(line, "    "); ok {
			all = append(all, strings.TrimSuffix(text, "\n"))
		}
	}
	return all
}

// What "make" is told to make in the documentation can be made.
func TestMakeTargetsExist(t *testing.T) {
	made := regexp.MustCompile(`(?m)^([a-z-]+):`)
	targets := map[string]bool{}
	for _, m := range made.FindAllStringSubmatch(read(t, filepath.Join(root, "Makefile")), -1) {
		targets[m[1]] = true
	}
	told := regexp.MustCompile(`(?:^|\s|&& )make ([a-z-]+)`)
	found := 0
	for _, p := range pages(t) {
		for _, line := range commands(p) {
			for _, m := range told.FindAllStringSubmatch(line, -1) {
				if !targets[m[1]] {
					t.Errorf("%s says %q, and the Makefile makes no %s", p.path, line, m[1])
				}
				found++
			}
		}
	}
	if found < 10 {
		t.Errorf("the pages say %d times what to make; is it looked for as it is written?", found)
	}
}

var (
	// place is what looks like a path below the root: its first part is a folder there. A last part that begins with a number is a version.
	place  = regexp.MustCompile(`^[a-zA-Z.][\w.-]*(?:/[\w.-]+)*/(?:[a-uw-zA-Z_.]|v[^0-9])[\w.-]*$`)
	goRun  = regexp.MustCompile(`(?:cd ([\w/.-]+) && )?(?:SIXFOLD_\w+=\S+ )*go (?:run|test|build|vet)((?: \S+)*)`)
	ofRepo = regexp.MustCompile(`github\.com/sixfold-go/sixfold/([\w/.-]+?)(?:@|$|[\s"'])`)
)

// Folders and files of which the documentation speaks are there.
func TestPlacesExist(t *testing.T) {
	top, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	isTop := func(name string) bool {
		return slices.ContainsFunc(top, func(e fs.DirEntry) bool { return e.Name() == name })
	}
	there := func(p page, of, name string) {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
			t.Errorf("%s says %s, and there is no %s", p.path, of, name)
		}
	}
	found := 0
	for _, p := range pages(t) {
		for _, span := range spans(p) {
			name := strings.Trim(span, "`")
			if first, _, _ := strings.Cut(name, "/"); place.MatchString(name) && isTop(first) && !testName.MatchString(span) {
				there(p, span, name)
				found++
			}
		}
		for _, line := range commands(p) {
			for _, m := range goRun.FindAllStringSubmatch(line, -1) {
				for _, word := range strings.Fields(m[2]) {
					if strings.HasPrefix(word, "./") && word != "./..." {
						there(p, line, path.Join(m[1], word))
						found++
					}
				}
			}
			for _, m := range ofRepo.FindAllStringSubmatch(line, -1) {
				there(p, line, m[1])
				found++
			}
		}
	}
	if found < 50 {
		t.Errorf("the pages speak of %d places; are they looked for as they are written?", found)
	}
}

// Variables and tests of which the documentation speaks are read, and there.
func TestVariablesAndTestsExist(t *testing.T) {
	variable := regexp.MustCompile(`SIXFOLD_[A-Z_]+`)
	function := regexp.MustCompile(`\b(?:Test|Benchmark|Fuzz)[A-Z]\w*`)
	known := map[string]bool{}
	walk(t, func(file string, d fs.DirEntry) error {
		inScripts := strings.HasPrefix(filepath.ToSlash(file), "scripts/")
		if d.IsDir() || !strings.HasSuffix(file, ".go") && !inScripts {
			return nil
		}
		text := read(t, filepath.Join(root, file))
		for _, name := range append(variable.FindAllString(text, -1), function.FindAllString(text, -1)...) {
			known[name] = true
		}
		return nil
	})
	for _, p := range pages(t) {
		for _, line := range commands(p) {
			for _, name := range append(variable.FindAllString(line, -1), function.FindAllString(line, -1)...) {
				if !known[name] {
					t.Errorf("%s says %s, and nothing of that name is there", p.path, name)
				}
			}
		}
	}
}

// Comments in Go name pages of the documentation that are there.
func TestCommentsNamePages(t *testing.T) {
	named := regexp.MustCompile(`\bdocs/[\w-]+\.md`)
	found := 0
	walk(t, func(file string, d fs.DirEntry) error {
		if d.IsDir() || !strings.HasSuffix(file, ".go") {
			return nil
		}
		for _, name := range named.FindAllString(read(t, filepath.Join(root, file)), -1) {
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(name))); err != nil {
				t.Errorf("%s names %s, which is not there", file, name)
			}
			found++
		}
		return nil
	})
	if found < 10 {
		t.Errorf("Go files name %d pages; are they looked for as they are written?", found)
	}
}
