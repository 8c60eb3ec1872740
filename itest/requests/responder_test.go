package requests

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/request"
)

// responderEnv marks a process that is to be a responder; its value is a responderConfig.
const responderEnv = "SIXFOLD_ITEST_RESPONDER"

type responderConfig struct {
	URL string
	Ran string // file to which each handler that begins adds the id of its request and its process
}

// beResponder is the process: it says when it is ready, and ends with its input.
func beResponder(text string) error {
	var cfg responderConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	ran, err := os.OpenFile(cfg.Ran, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	lane, _, err := laneAt(cfg.URL)
	if err != nil {
		return err
	}
	c := newCrew(func(id string) {
		if _, err := fmt.Fprintln(ran, id, os.Getpid()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	})
	r, err := request.Serve(lane, nil, c.routes()...)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	go func() {
		<-r.Listening()
		fmt.Println("ready")
	}()
	return r.Run(ctx)
}

// child is a responder's process.
type child struct {
	pid  int
	kill func() // by SIGKILL; returns when it has ended
}

// startResponder returns when it listens. The process ends with the test at the latest.
func (b broker) startResponder(t *testing.T, ran string) child {
	t.Helper()
	text, err := json.Marshal(responderConfig{b.url, ran})
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), responderEnv+"="+string(text))
	var says strings.Builder
	cmd.Stderr = &says
	in, err := cmd.StdinPipe() // open for as long as this process lives
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	kill := func() {
		if !ended {
			ended = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // which says that it was killed
			in.Close()
		}
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if line != "ready\n" {
		kill()
		t.Fatalf("a responder says %q, %v:\n%s", line, err, &says)
	}
	return child{cmd.Process.Pid, kill}
}

// journal makes the file of handlers that have begun, and answers how often each request has, and how many in each process.
func journal(t *testing.T) (path string, ran func() (ids map[string]int, in map[int]int)) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "ran")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, func() (map[string]int, map[int]int) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		ids, in := make(map[string]int), make(map[int]int)
		for line := range strings.Lines(string(text)) {
			if !strings.HasSuffix(line, "\n") {
				break // it is being written
			}
			var id string
			var pid int
			if _, err := fmt.Sscanln(line, &id, &pid); err != nil {
				t.Fatal(err)
			}
			ids[id]++
			in[pid]++
		}
		return ids, in
	}
}
