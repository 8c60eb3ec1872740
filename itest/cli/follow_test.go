package cli

import (
	"bufio"
	"os/exec"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// A follower is a command of a script that goes on beside it.
type follower struct {
	cmd *exec.Cmd
	out strings.Builder
}

// follow starts sixfold and returns when it says that it is following: follow bus tail orders --count 2
func follow(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("write: follow ARGUMENTS")
	}
	bin, err := exec.LookPath(strings.SplitN(ts.Getenv("PATH"), ":", 2)[0] + "/sixfold")
	ts.Check(err)
	f := &follower{cmd: exec.Command(bin, args...)}
	for _, name := range variables {
		f.cmd.Env = append(f.cmd.Env, name+"="+ts.Getenv(name))
	}
	f.cmd.Stdout = &f.out
	stderr, err := f.cmd.StderrPipe()
	ts.Check(err)
	ts.Check(f.cmd.Start())
	ts.Defer(func() { _ = f.cmd.Process.Kill() }) // which has ended, unless the script failed
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil || !strings.Contains(line, "following") {
		ts.Fatalf("it said %q: %v", line, err)
	}
	*ts.Value(followerKey{}).(**follower) = f
}

type followerKey struct{}

// followed waits until what follow has started ends well, and has its output: followed
func followed(ts *testscript.TestScript, neg bool, args []string) {
	f := *ts.Value(followerKey{}).(**follower)
	if neg || len(args) > 0 || f == nil {
		ts.Fatalf("write: followed, behind follow")
	}
	ts.Check(f.cmd.Wait())
	_, err := ts.Stdout().Write([]byte(f.out.String()))
	ts.Check(err)
}
