// Package cli tests the command sixfold as its users run it, on real servers.
package cli

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sixfold-go/sixfold/cmd/sixfold/cli"
	"github.com/sixfold-go/sixfold/examples/demo/demo"
	"github.com/sixfold-go/sixfold/itest/servers"
)

// The test binary is the command when it is started under that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "sixfold" || demo.IsChild() {
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	servers.Main(m)
}

// command answers a directory with the command sixfold.
func command(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "sixfold")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Each file of testdata/script is what a user does. The environment has PG_DSN, an empty database of a real PostgreSQL, and
// NATS_URL, an empty JetStream, and RABBIT_URL, for those scripts that are named after them.
func TestScripts(t *testing.T) {
	bin := command(t)
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no scripts: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		var more []string
		prepare := func(t *testing.T) {
			switch name {
			case "postgres.txtar", "grants.txtar":
				more = append(more, "PG_DSN="+servers.Postgres(t).Database(t))
			case "nats.txtar":
				more = append(more, "NATS_URL="+servers.NATS(t, nil).URL())
			case "rabbitmq.txtar":
				forgetTopic(t, "cli.orders")
				more = append(more, "RABBIT_URL="+servers.RabbitMQ(t).URL())
			}
		}
		t.Run(name, func(t *testing.T) {
			prepare(t)
			testscript.Run(t, testscript.Params{Files: []string{file}, Setup: func(e *testscript.Env) error {
				e.Vars = append(e.Vars, more...)
				e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
				return nil
			}, Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits}})
		})
	}
}

// exits runs sixfold and wants an exit code: exits 2 outbox list. It runs in this process, where the race detector sees it;
// "exec sixfold" is a process of its own, which takes half a second to start with that detector.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if err != nil || neg {
		ts.Fatalf("write: exits CODE ARGUMENTS")
	}
	var env []string
	for _, name := range variables {
		env = append(env, name+"="+ts.Getenv(name))
	}
	got, err := here(ts.MkAbs("."), env, args[1:])
	ts.Check(err)
	_, _ = io.WriteString(ts.Stdout(), got.out)
	_, _ = io.WriteString(ts.Stderr(), got.err)
	if got.code != want {
		ts.Fatalf("the exit code is %d, want %d: %s", got.code, want, got.err)
	}
	if want == 2 && got.out != "" || want == 4 && got.out != "" {
		ts.Fatalf("something is on stdout: %s", got.out)
	}
}
