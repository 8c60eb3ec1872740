package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/cmd/sixfold/cli"
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
	t    testing.TB
	bin  string
	env  []string
	crew *crew // nil: everything runs as SIXFOLD_DSN says
}

func newRunner(t testing.TB, env ...string) *runner {
	t.Helper()
	return &runner{t: t, bin: filepath.Join(command(t), "sixfold"), env: append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)}
}

// with is the same with another variable.
func (r *runner) with(env ...string) *runner {
	return &runner{r.t, r.bin, append(r.env[:len(r.env):len(r.env)], env...), r.crew}
}

// envOf are the variables of a command, with the login of who runs it.
func (r *runner) envOf(args []string) []string {
	if r.crew == nil {
		return r.env
	}
	return append(r.env[:len(r.env):len(r.env)], "SIXFOLD_DSN="+r.crew.login(args))
}

func (r *runner) cmd(ctx context.Context, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	c := exec.CommandContext(ctx, r.bin, args...)
	var out, err bytes.Buffer
	c.Env, c.Stdout, c.Stderr = r.envOf(args), &out, &err
	c.Dir = r.t.TempDir()
	return c, &out, &err
}

// run runs it in this process.
func (r *runner) run(args ...string) result {
	r.t.Helper()
	got, err := here(r.t.TempDir(), r.envOf(args), args)
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

// variables are those that the command reads, itself or through a library.
var variables = []string{"SIXFOLD_DSN", "SIXFOLD_BROKER", "PGPASSWORD", "PGOPTIONS", "HOME", "COLUMNS",
	"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"}

// here runs the command in this process, in a directory and with variables of its own; the last value of one counts.
func here(dir string, env, args []string, opts ...cli.Option) (r result, err error) {
	own := map[string]string{}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		own[name] = value
	}
	for _, name := range variables {
		if before, set := os.LookupEnv(name); set {
			defer os.Setenv(name, before)
		} else {
			defer os.Unsetenv(name)
		}
		if err := os.Setenv(name, own[name]); err != nil {
			return r, err
		}
	}
	before, err := os.Getwd()
	if err == nil {
		err = os.Chdir(dir)
	}
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.Chdir(before)) }()
	var out, stderr bytes.Buffer
	r.code = cli.Main(args, strings.NewReader(""), &out, &stderr, opts...)
	r.out, r.err = out.String(), stderr.String()
	return r, nil
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
