// Package cli tests the command sixfold as its users run it, on real servers.
package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sixfold-go/sixfold/cmd/sixfold/cli"
	"github.com/sixfold-go/sixfold/examples/demo/demo"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/store"
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
// NATS_URL, an empty JetStream, RABBIT_URL, AWS_URL, and KAFKA_URL, with dead letters of topic "bills", for those scripts that are named after them.
func TestScripts(t *testing.T) {
	bin := command(t)
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no scripts: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		var more []string
		var as *crew
		prepare := func(t *testing.T) {
			switch name {
			case "postgres.txtar": // each command with the grants of its role
				dsn := servers.Postgres(t).Database(t)
				as = &crew{roles.Before(t, dsn, nil)}
				roles.Before(t, dsn, &store.Options{Schema: "My Shop", Prefix: "Order "})
				more = append(more, "PG_DSN="+dsn, "MIGRATOR_DSN="+as.as.Migrator)
			case "grants.txtar":
				more = append(more, "PG_DSN="+servers.Postgres(t).Database(t))
			case "nats.txtar":
				more = append(more, "NATS_URL="+servers.NATS(t, nil).URL())
			case "rabbitmq.txtar":
				forgetTopic(t, "cli.orders")
				more = append(more, "RABBIT_URL="+servers.RabbitMQ(t).URL())
			case "sqs.txtar":
				more = append(awsVariables(), "AWS_URL="+servers.PrivateAWS(t, servers.Fauxqs).URL())
			case "kafka.txtar":
				more = append(more, "KAFKA_URL="+kafkaWithDead(t, "bills"))
			}
		}
		t.Run(name, func(t *testing.T) {
			prepare(t)
			testscript.Run(t, testscript.Params{Files: []string{file}, Setup: func(e *testscript.Env) error {
				e.Vars = append(e.Vars, more...)
				e.Values["crew"] = as
				e.Values[followerKey{}] = new(*follower)
				e.Setenv("PATH", bin+string(os.PathListSeparator)+e.Getenv("PATH"))
				return nil
			}, Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"exits": exits, "follow": follow, "followed": followed}})
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
	as, _ := ts.Value("crew").(*crew)
	if as != nil && ts.Getenv("SIXFOLD_DSN") == as.as.Superuser {
		env = append(env, "SIXFOLD_DSN="+as.login(args[1:]))
	}
	got, err := here(ts.MkAbs("."), env, args[1:])
	ts.Check(err)
	if as != nil && got.code == 0 {
		ts.Check(as.after(context.Background(), args[1:]))
	}
	_, _ = io.WriteString(ts.Stdout(), got.out)
	_, _ = io.WriteString(ts.Stderr(), got.err)
	if got.code != want {
		ts.Fatalf("the exit code is %d, want %d: %s", got.code, want, got.err)
	}
	if want == 2 && got.out != "" || want == 4 && got.out != "" {
		ts.Fatalf("something is on stdout: %s", got.out)
	}
}
