package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A module is one of the repository.
type module struct {
	dir  string // relative to the root, with slashes
	file modFile
}

// modFile and workFile are what "go mod edit -json" and "go work edit -json" print of interest.
type modFile struct {
	Module  struct{ Path string }
	Require []struct{ Path, Version string }
	Replace []struct{ Old struct{ Path string } }
}

type workFile struct {
	Use []struct{ DiskPath string }
}

func (m module) path() string { return m.file.Module.Path }

// tag is the name of the version's tag, which for a nested module begins with its directory.
func (m module) tag(version string) string { return path.Join(m.dir, version) }

// ours reports whether a module path belongs to this repository.
func ours(p string) bool { return p == repository || strings.HasPrefix(p, repository+"/") }

// private reports whether a module is not for users to build: it is released only where a released one requires it.
func private(dir string) bool {
	return never(dir) || strings.HasPrefix(dir, "examples/")
}

// never reports whether a module is not released at all.
func never(dir string) bool {
	return dir == "itest" || strings.HasPrefix(dir, "itest/") || dir == "benchmarks"
}

// plan answers the modules to be released, each behind those of them that it requires.
func (r *releaser) plan(ctx context.Context) ([]module, error) {
	var work workFile
	if err := r.goJSON(ctx, &work, "work", "edit", "-json", "go.work"); err != nil {
		return nil, err
	}
	all := map[string]module{}
	var names []string
	for _, use := range work.Use {
		m := module{dir: path.Clean(filepath.ToSlash(use.DiskPath))}
		if err := r.goJSON(ctx, &m.file, "mod", "edit", "-json", path.Join(m.dir, "go.mod")); err != nil {
			return nil, err
		}
		all[m.path()] = m
		names = append(names, m.path())
	}
	var order []module
	var add func(p, by string) error
	add = func(p, by string) error {
		m, ok := all[p]
		switch {
		case !ok:
			return fmt.Errorf("module %s requires %s, which is not in go.work; add it there", by, p)
		case never(m.dir):
			return fmt.Errorf("module %s requires %s, which is never released; move what needs it there", by, p)
		case slices.ContainsFunc(order, func(o module) bool { return o.path() == p }):
			return nil
		}
		for _, q := range m.file.Require {
			if ours(q.Path) {
				if err := add(q.Path, p); err != nil {
					return err
				}
			}
		}
		order = append(order, m)
		return nil
	}
	for _, p := range names {
		if !private(all[p].dir) {
			if err := add(p, "go.work"); err != nil {
				return nil, err
			}
		}
	}
	return order, nil
}

// pin makes a module stand alone: no replace lines, siblings in this version, and sums for them.
func (r *releaser) pin(ctx context.Context, m module) error {
	args := []string{"mod", "edit"}
	for _, old := range m.file.Replace {
		if !ours(old.Old.Path) {
			return fmt.Errorf("%s/go.mod replaces %s: whoever requires a module does not see its replace lines; remove it", m.dir, old.Old.Path)
		}
		args = append(args, "-dropreplace="+old.Old.Path)
	}
	for _, q := range m.file.Require {
		if ours(q.Path) {
			args = append(args, "-require="+q.Path+"@"+r.version)
		}
	}
	if len(args) == 2 {
		return nil
	}
	dir := filepath.Join(r.dir, filepath.FromSlash(m.dir))
	if _, err := command(ctx, dir, r.env, "go", args...); err != nil {
		return err
	}
	_, err := command(ctx, dir, r.env, "go", "mod", "tidy")
	return err
}

func (r *releaser) goJSON(ctx context.Context, into any, args ...string) error {
	text, err := command(ctx, r.dir, []string{"GOWORK=off"}, "go", args...)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), into)
}
