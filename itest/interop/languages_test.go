package interop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// node is Node with what node/package-lock.json names. CI can install both, so there nothing excuses.
func node(t *testing.T) *peer {
	t.Helper()
	command, err := program(t.Context(), "node", "nodejs", "npm")
	if err != nil {
		giveUp(t, errors.Is(err, errMissing) && !require(), "interop: %v; install the packages nodejs and npm", err)
	}
	npm, err := program(t.Context(), "npm", "npm")
	if err != nil {
		giveUp(t, errors.Is(err, errMissing) && !require(), "interop: %v; install the package npm", err)
	}
	modules, err := installed("node", filepath.Join("node", "package-lock.json"), func(dir string) error {
		for _, file := range []string{"package.json", "package-lock.json"} {
			text, err := os.ReadFile(filepath.Join("node", file))
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, file), text, 0o600)
			}
			if err != nil {
				return err
			}
		}
		return run(t, dir, npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--fetch-retries=5")
	})
	if err != nil {
		giveUp(t, !require(), "interop: the packages of node/package-lock.json cannot be installed: %v", err)
	}
	dir := copyPrograms(t, "node", ".mjs")
	if err := os.Symlink(filepath.Join(modules, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	return &peer{command: command, suffix: ".mjs", dir: dir}
}

// python is Python with what python/requirements.txt names. An index of packages that cannot be reached excuses everywhere.
func python(t *testing.T) *peer {
	t.Helper()
	command, err := program(t.Context(), "python3", "python3", "python3-pip")
	if err != nil {
		giveUp(t, errors.Is(err, errMissing) && !require(), "interop: %v; install the packages python3 and python3-pip", err)
	}
	lock, err := filepath.Abs(filepath.Join("python", "requirements.txt"))
	if err != nil {
		t.Fatal(err)
	}
	packages, err := installed("python", lock, func(dir string) error {
		return run(t, dir, command, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-input", "--target", dir, "--requirement", lock)
	})
	if err != nil {
		giveUp(t, true, "interop: the packages of python/requirements.txt cannot be installed: %v", err)
	}
	return &peer{command: command, suffix: "_peer.py", dir: copyPrograms(t, "python", ".py"), env: []string{"PYTHONPATH=" + packages, "PYTHONDONTWRITEBYTECODE=1"}}
}

func run(t *testing.T, dir, command string, args ...string) error {
	cmd := exec.CommandContext(t.Context(), command, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(command), err, last(out))
	}
	return nil
}
