package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// useProxy makes an empty module proxy, and a module cache of its own in front of it: in the caller's, this version would
// stay for ever. What others made is taken from the caller's cache where it is there.
func (r *releaser) useProxy(ctx context.Context, scratch string) error {
	text, err := command(ctx, r.dir, nil, "go", "env", "-json", "GOMODCACHE", "GOPROXY", "GONOSUMDB", "GOFLAGS")
	if err != nil {
		return err
	}
	var env struct{ GOMODCACHE, GOPROXY, GONOSUMDB, GOFLAGS string }
	if err := json.Unmarshal([]byte(text), &env); err != nil {
		return err
	}
	// Nothing of ours is to be had from the repository's host yet, and asking takes long.
	others := strings.NewReplacer(",direct", "", "|direct", "").Replace(env.GOPROXY)
	r.proxy = filepath.Join(scratch, "proxy")
	r.env = []string{
		"GOWORK=off", "GOPRIVATE=", "GONOPROXY=none", "GOMODCACHE=" + filepath.Join(scratch, "cache"),
		"GOPROXY=" + strings.Join([]string{fileURL(r.proxy), fileURL(filepath.Join(env.GOMODCACHE, "cache", "download")), others}, ","),
		"GONOSUMDB=" + strings.TrimPrefix(env.GONOSUMDB+","+repository, ","), // nobody has seen it yet
		"GOFLAGS=" + strings.TrimSpace(env.GOFLAGS+" -modcacherw"),           // so that it can be removed
	}
	return nil
}

func fileURL(dir string) string { return "file://" + filepath.ToSlash(dir) }

// serve puts a module into the proxy, as a real one serves it (Go modules reference, "GOPROXY protocol" and "Module zip
// files").
func (r *releaser) serve(ctx context.Context, m module) error {
	dir := filepath.Join(r.proxy, filepath.FromSlash(m.path()), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	packed, err := r.pack(ctx, m)
	if err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(r.dir, filepath.FromSlash(m.dir), "go.mod"))
	if err != nil {
		return err
	}
	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{r.version, time.Now().UTC()})
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{"list": []byte(r.version + "\n"), r.version + ".info": info, r.version + ".mod": mod, r.version + ".zip": packed} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pack makes a module's zip of what git tracks: without nested modules, and with the licence of the repository where it has none.
func (r *releaser) pack(ctx context.Context, m module) ([]byte, error) {
	text, err := command(ctx, r.dir, nil, "git", "ls-files", "-z", "--", m.dir)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	add := func(name, file string) error {
		content, err := os.ReadFile(filepath.Join(r.dir, filepath.FromSlash(file)))
		if err != nil {
			return err
		}
		w, err := z.Create(m.path() + "@" + r.version + "/" + name)
		if err == nil {
			_, err = w.Write(content)
		}
		return err
	}
	files := strings.FieldsFunc(text, func(c rune) bool { return c == 0 })
	nested := map[string]bool{}
	for _, f := range files {
		if d, name := path.Split(f); name == "go.mod" && path.Clean(d) != m.dir {
			nested[path.Clean(d)] = true
		}
	}
	licensed := false
	for _, f := range files {
		if below(f, nested) {
			continue
		}
		name := strings.TrimPrefix(f, m.dir+"/")
		licensed = licensed || name == "LICENSE"
		if err := add(name, f); err != nil {
			return nil, err
		}
	}
	if !licensed {
		if err := add("LICENSE", "LICENSE"); err != nil {
			return nil, err
		}
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// below reports whether a file is in one of the directories.
func below(file string, dirs map[string]bool) bool {
	for d := path.Dir(file); d != "."; d = path.Dir(d) {
		if dirs[d] {
			return true
		}
	}
	return false
}

// stranger gets a module as anybody would, and builds all of it, or only finds all that it needs. Programs are installed
// by their path and version, which replace lines would forbid.
func (r *releaser) stranger(ctx context.Context, m module, dir string, build bool) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/stranger\n\ngo 1.26\n"), 0o644); err != nil {
		return err
	}
	// A module cache of its own: with the root module in it, the go command does not look for nested ones of that version.
	env := append(slices.Clone(r.env), "GOBIN="+filepath.Join(dir, "bin"), "GOMODCACHE="+filepath.Join(dir, "cache"))
	commands := [][]string{{"get", m.path() + "@" + r.version}}
	if build {
		commands = append(commands, []string{"build", "-trimpath", "-mod=mod", m.path() + "/..."})
	} else {
		commands = append(commands, []string{"list", "-deps", "-mod=mod", m.path() + "/..."})
	}
	if strings.HasPrefix(m.dir, "cmd/") {
		install := []string{"install", "-trimpath", m.path() + "@" + r.version}
		if !build {
			install = slices.Insert(install, 1, "-n") // loads everything, and only prints what it would do
		}
		commands = append(commands, install)
	}
	for _, args := range commands {
		if _, err := command(ctx, dir, env, "go", args...); err != nil {
			return err
		}
	}
	return nil
}

// command runs a program in dir and answers what it printed.
func command(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), errors.Join(err, errors.New(strings.TrimSpace(stderr.String()))))
	}
	return string(out), nil
}
