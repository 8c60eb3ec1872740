// Package interop exchanges events, and requests, between Sixfold and clients of other languages, in both directions: Node with amqplib, nats.js, kafkajs, the
// client of SQS and the CloudEvents SDK, Python with aio-pika, nats-py, confluent-kafka and the CloudEvents SDK. Their programs are in the folders node and
// python. What they need is installed into a cache, at the versions of their lock files.
package interop

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/itest/servers"
)

// patience bounds a program, and an installation.
const patience = 3 * time.Minute

// errMissing says that this machine cannot run a program's language.
var errMissing = errors.New("it is not installed")

// A peer runs the programs of one language.
type peer struct {
	command string   // its interpreter
	suffix  string   // of its programs' files, after the name
	dir     string   // with the programs, and what they need
	env     []string // beside the environment
}

// wish is an event that a program should send.
type wish struct {
	Mode       string         `json:"mode"` // "binary", "structured", or "raw" for no SDK
	Attributes map[string]any `json:"attributes,omitempty"`
	JSON       any            `json:"json,omitempty"`
	Base64     []byte         `json:"base64,omitempty"` // the body's bytes, in place of JSON
	Headers    map[string]any `json:"headers,omitempty"`
}

// seen is an event that a program received, as its SDK understood it.
type seen struct {
	Ready      bool              `json:"ready"`
	Done       bool              `json:"done"`
	Attributes map[string]any    `json:"attributes"`
	Data       json.RawMessage   `json:"data"`  // where the SDK decoded it
	Bytes      []byte            `json:"bytes"` // else
	Headers    map[string]string `json:"headers"`
}

// require reports whether what is missing is a failure.
func require() bool { return os.Getenv(servers.RequireEnv) == "1" }

// giveUp skips t, or fails it where the reason does not excuse.
func giveUp(t *testing.T, excused bool, format string, args ...any) {
	t.Helper()
	if excused {
		t.Skipf(format+" (set "+servers.RequireEnv+"=1 where that is a failure)", args...)
	}
	t.Fatalf(format, args...)
}

// program finds an interpreter, and installs Debian's packages for it as root.
func program(ctx context.Context, name string, packages ...string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	if os.Geteuid() != 0 {
		return "", fmt.Errorf("%s: %w, and only root could install it", name, errMissing)
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return "", fmt.Errorf("%s: %w, and there is no apt-get", name, errMissing)
	}
	for _, args := range [][]string{{"update"}, append([]string{"install", "-y", "--no-install-recommends"}, packages...)} {
		cmd := exec.CommandContext(ctx, apt, append([]string{"-o", "DPkg::Lock::Timeout=300"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w, and apt-get %s failed: %w: %s", name, errMissing, args[0], err, last(out))
		}
	}
	return exec.LookPath(name)
}

// last are the last lines of what a program wrote.
func last(out []byte) string {
	const most = 1500
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return strings.TrimSpace(string(out))
}

// installed answers a folder of the cache in which install has run for this lock file, whoever did it.
func installed(language, lock string, install func(dir string) error) (string, error) {
	text, err := os.ReadFile(lock)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(text)
	dir := filepath.Join(cache, "sixfold", "interop-"+language+"-"+hex.EncodeToString(sum[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return "", err
	}
	// Made aside and renamed: half an installation is none, and whoever comes second has the same.
	aside, err := os.MkdirTemp(filepath.Dir(dir), "interop-new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(aside)
	if err := install(aside); err != nil {
		return "", err
	}
	if err := os.Rename(aside, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			return "", err
		}
	}
	return dir, nil
}

// copyPrograms copies the programs of a language into a folder of the test's own.
func copyPrograms(t *testing.T, from, suffix string) string {
	t.Helper()
	to := t.TempDir()
	files, err := filepath.Glob(filepath.Join(from, "*"+suffix))
	if err != nil || len(files) == 0 {
		t.Fatalf("no programs in %s: %v", from, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(to, filepath.Base(file)), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// start runs a program. The function that it answers reads its next line, or fails the test when there is none.
func (p *peer) start(t *testing.T, name string, input any, args ...string) (next func() seen) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	cmd := exec.CommandContext(ctx, p.command, append([]string{name + p.suffix}, args...)...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), p.env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := json.Marshal(input)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // a failure shows in the lines that are missing
	})
	lines := bufio.NewReader(out)
	return func() (s seen) {
		t.Helper()
		line, err := lines.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &s)
		}
		if err != nil {
			cancel()
			_ = cmd.Wait()
			t.Fatalf("%s %s: %v: %s\nline: %.500q", name, args[0], err, last(stderr.Bytes()), line)
		}
		return s
	}
}

// send has a program send events and waits until the broker has them.
func (p *peer) send(t *testing.T, name string, wishes []wish, args ...string) {
	t.Helper()
	if s := p.start(t, name, wishes, append([]string{"send"}, args...)...)(); !s.Done {
		t.Fatalf("%s did not say that it is done: %+v", name, s)
	}
}

// receive has a program receive, and returns when it is ready. The function that it answers is for the next event.
func (p *peer) receive(t *testing.T, name string, args ...string) (next func() seen) {
	t.Helper()
	next = p.start(t, name, nil, append([]string{"receive"}, args...)...)
	if s := next(); !s.Ready {
		t.Fatalf("%s did not say that it is ready: %+v", name, s)
	}
	return next
}
