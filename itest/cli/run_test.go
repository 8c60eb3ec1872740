package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// result is how one run of the command ended.
type result struct {
	code     int
	out, err string
}

// all is everything that it said.
func (r result) all() string { return r.out + r.err }

// runner runs the command with variables of its own, and none of ours that it reads.
type runner struct {
	t   testing.TB
	bin string
	env []string
}

func newRunner(t testing.TB, env ...string) *runner {
	t.Helper()
	return &runner{t, filepath.Join(command(t), "sixfold"), append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)}
}

// with is the same with another variable.
func (r *runner) with(env ...string) *runner {
	return &runner{r.t, r.bin, append(r.env[:len(r.env):len(r.env)], env...)}
}

func (r *runner) cmd(ctx context.Context, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	c := exec.CommandContext(ctx, r.bin, args...)
	var out, err bytes.Buffer
	c.Env, c.Stdout, c.Stderr = r.env, &out, &err
	c.Dir = r.t.TempDir()
	return c, &out, &err
}

func (r *runner) run(args ...string) result {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	c, out, stderr := r.cmd(ctx, args...)
	return result{r.ended(c.Run()), out.String(), stderr.String()}
}

// ended is the exit code.
func (r *runner) ended(err error) int {
	r.t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	r.t.Fatal(err)
	return -1
}
