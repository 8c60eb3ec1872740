// Command replace writes the replace lines by which the nested modules of this repository find each other, and with
// -check tells whether they are right.
//
// The go command ignores go.work when it tidies a module, so each nested module needs a replace line for every sibling,
// and requires siblings as v0.0.0. The list of modules is that of go.work; a new module is added there first.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// unreleased is the version that siblings require of each other in the repository; a release pins the real one.
const unreleased = "v0.0.0"

// repository is the path of the root module, which all others begin with.
const repository = "github.com/sixfold-go/sixfold"

func main() {
	check := flag.Bool("check", false, "change nothing; fail if a line is missing or wrong")
	root := flag.String("root", ".", "the `directory` with go.work")
	flag.Parse()
	if err := run(*root, *check); err != nil {
		fmt.Fprintln(os.Stderr, "replace:", err)
		os.Exit(1)
	}
}

func run(root string, check bool) error {
	modules, err := readModules(root)
	if err != nil {
		return err
	}
	var wrong []error
	for _, m := range modules {
		want := m.siblings(modules)
		faults := m.faults(want)
		switch {
		case m.dir == "." || len(faults) == 0: // the root requires nothing
		case check:
			wrong = append(wrong, fmt.Errorf("%s/go.mod: %s; run scripts/replace", m.dir, strings.Join(faults, ", ")))
		default:
			if err := m.write(root, want); err != nil {
				return err
			}
			fmt.Printf("wrote %s/go.mod\n", m.dir)
		}
	}
	return errors.Join(wrong...)
}

// A module is one of the repository.
type module struct {
	dir  string // relative to the root
	file modFile
}

// modFile and workFile are what "go mod edit -json" and "go work edit -json" print of interest.
type modFile struct {
	Module  struct{ Path string }
	Require []struct{ Path, Version string }
	Replace []struct {
		Old, New struct{ Path, Version string }
	}
}

type workFile struct {
	Use []struct{ DiskPath string }
}

// readModules reads the go.mod of each module in go.work.
func readModules(root string) ([]module, error) {
	var work workFile
	if err := goJSON(root, &work, "work", "edit", "-json", "go.work"); err != nil {
		return nil, err
	}
	var modules []module
	for _, use := range work.Use {
		m := module{dir: filepath.Clean(use.DiskPath)}
		if err := goJSON(root, &m.file, "mod", "edit", "-json", filepath.Join(m.dir, "go.mod")); err != nil {
			return nil, err
		}
		modules = append(modules, m)
	}
	return modules, nil
}

// siblings returns the directory, relative to m's, of each other module, by its path.
func (m module) siblings(all []module) map[string]string {
	dirs := map[string]string{}
	for _, sibling := range all {
		if sibling.dir == m.dir {
			continue
		}
		rel, err := filepath.Rel(m.dir, sibling.dir)
		if err != nil {
			rel = sibling.dir // both are relative to the root, so this does not happen
		}
		if rel = filepath.ToSlash(rel); !strings.HasPrefix(rel, "..") {
			rel = "./" + rel
		}
		dirs[sibling.file.Module.Path] = rel
	}
	return dirs
}

// faults says what is wrong with m's lines.
func (m module) faults(want map[string]string) []string {
	var faults []string
	have := map[string]string{}
	for _, r := range m.file.Replace {
		if !ours(r.Old.Path) {
			continue
		}
		have[r.Old.Path] = r.New.Path
		if want[r.Old.Path] == "" {
			faults = append(faults, "replaces "+r.Old.Path+", which is no module of go.work")
		}
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if have[path] != want[path] {
			faults = append(faults, "does not replace "+path+" by "+want[path])
		}
	}
	for _, r := range m.file.Require {
		if ours(r.Path) && r.Version != unreleased {
			faults = append(faults, "requires "+r.Path+" "+r.Version+", not "+unreleased)
		}
	}
	return faults
}

// write puts m's lines right: all of ours out, and one block in.
func (m module) write(root string, want map[string]string) error {
	path := filepath.Join(m.dir, "go.mod")
	args := []string{"mod", "edit"}
	for _, r := range m.file.Replace {
		if ours(r.Old.Path) {
			args = append(args, "-dropreplace="+r.Old.Path)
		}
	}
	for _, r := range m.file.Require {
		if ours(r.Path) {
			args = append(args, "-require="+r.Path+"@"+unreleased)
		}
	}
	if len(args) > 2 {
		if _, err := goCommand(root, append(args, path)...); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return err
	}
	block := "\nreplace (\n"
	for _, sibling := range slices.Sorted(maps.Keys(want)) {
		block += "\t" + sibling + " => " + want[sibling] + "\n"
	}
	if err := os.WriteFile(filepath.Join(root, path), append(text, block+")\n"...), 0o644); err != nil {
		return err
	}
	_, err = goCommand(root, "mod", "edit", "-fmt", path)
	return err
}

// ours reports whether a module path belongs to this repository.
func ours(path string) bool {
	return path == repository || strings.HasPrefix(path, repository+"/")
}

func goJSON(root string, into any, args ...string) error {
	out, err := goCommand(root, args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("read what go %s printed: %w", strings.Join(args, " "), err)
	}
	return nil
}

func goCommand(root string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}
