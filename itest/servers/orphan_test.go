package servers_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold/itest/servers"
)

const orphanEnv = "SIXFOLD_TEST_ORPHANS"

// orphans is what a process left behind that started servers and was killed.
type orphans struct {
	Pids []int
	Dirs []string
}

// beOrphanMaker is the other process of the test below: it starts servers, tells of them, and waits to be killed.
func beOrphanMaker() {
	if os.Getenv(orphanEnv) == "" {
		return
	}
	os.Unsetenv(orphanEnv) // its NATS child is no orphan maker
	if err := makeOrphans(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

func makeOrphans(ctx context.Context) error {
	p, err := servers.StartPostgres(ctx, nil)
	if err != nil {
		return err
	}
	n, err := servers.StartNATSProcess(ctx, nil)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, p.DSN())
	if err != nil {
		return err
	}
	var data string
	if err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&data); err != nil {
		return err
	}
	o := orphans{Pids: []int{p.Pid(), n.Pid()}, Dirs: []string{filepath.Dir(data)}}
	return json.NewEncoder(os.Stdout).Encode(o)
}

func TestServersEndWithAProcessThatIsKilled(t *testing.T) {
	servers.Postgres(t) // skipped where there is no PostgreSQL; also: two processes have servers at once
	for _, test := range []struct {
		name   string
		freeze bool
	}{{"running", false}, {"frozen", true}} {
		t.Run(test.name, func(t *testing.T) {
			temporary := t.TempDir()
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), orphanEnv+"=1", "TMPDIR="+temporary)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadBytes('\n')
			if err != nil {
				t.Fatalf("the other process did not say what it started: %v", err)
			}
			var left orphans
			if err := json.Unmarshal(line, &left); err != nil {
				t.Fatal(err)
			}
			if test.freeze {
				for _, pid := range left.Pids {
					freeze(t, pid)
				}
			}
			kill(t, cmd.Process.Pid)
			_ = cmd.Wait() // it was killed
			for _, pid := range left.Pids {
				eventually(t, fmt.Sprintf("process %d has ended", pid), func() bool { return !alive(pid) })
			}
			for _, dir := range left.Dirs {
				eventually(t, dir+" is removed", func() bool { return gone(dir) })
			}
			eventually(t, temporary+" is empty", func() bool {
				left, err := os.ReadDir(temporary)
				return err == nil && len(left) == 0
			})
		})
	}
}
