package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// binaries are PostgreSQL's programs on this machine.
type binaries struct {
	initdb, postgres string
	version          string // as "postgres --version" prints it
	statements       bool   // pg_stat_statements can be loaded
}

// findBinaries finds PostgreSQL's programs, and installs them if they are missing and we are root on Debian.
func findBinaries(ctx context.Context) (*binaries, error) {
	if runtime.GOOS == "windows" {
		return nil, fmt.Errorf("%w: a private PostgreSQL needs a Unix; use WSL or a container", ErrUnavailable)
	}
	dir := binaryDir()
	if dir == "" {
		if err := installPostgres(ctx); err != nil {
			return nil, err
		}
		if dir = binaryDir(); dir == "" {
			return nil, fmt.Errorf("%w: the package postgresql is installed, but there is no initdb and postgres under /usr/lib/postgresql/*/bin or in PATH", ErrUnavailable)
		}
	}
	b := &binaries{initdb: filepath.Join(dir, "initdb"), postgres: filepath.Join(dir, "postgres")}
	out, err := exec.CommandContext(ctx, b.postgres, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("servers: ask %s for its version: %w", b.postgres, err)
	}
	b.version = strings.TrimSpace(string(out))
	b.statements = hasLibrary(ctx, dir, "pg_stat_statements.so")
	return b, nil
}

// binaryDir returns the directory of the newest server of Debian's layout, else of the one in PATH, else of usual places.
func binaryDir() string {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is well-formed
	slices.SortFunc(dirs, func(a, b string) int { return majorOf(b) - majorOf(a) })
	if p, err := exec.LookPath("initdb"); err == nil {
		// PATH may hold links; the programs look for their files beside the real one.
		if real, err := filepath.EvalSymlinks(p); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	dirs = append(dirs, "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql/bin")
	for _, dir := range dirs {
		if isProgram(filepath.Join(dir, "initdb")) && isProgram(filepath.Join(dir, "postgres")) {
			return dir
		}
	}
	return ""
}

var major = regexp.MustCompile(`/postgresql/(\d+)/`)

// majorOf returns the major version in a path of Debian's layout, or 0.
func majorOf(dir string) int {
	if m := major.FindStringSubmatch(dir); m != nil {
		n, _ := strconv.Atoi(m[1]) // digits; too many of them count as 0
		return n
	}
	return 0
}

func isProgram(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// hasLibrary reports whether the server in dir can load the library of that name.
func hasLibrary(ctx context.Context, dir, name string) bool {
	libs := []string{filepath.Join(dir, "..", "lib"), filepath.Join(dir, "..", "lib", "postgresql")}
	if out, err := exec.CommandContext(ctx, filepath.Join(dir, "pg_config"), "--pkglibdir").Output(); err == nil {
		libs = append(libs, strings.TrimSpace(string(out)))
	}
	return slices.ContainsFunc(libs, func(lib string) bool {
		_, err := os.Stat(filepath.Join(lib, name))
		return err == nil
	})
}
