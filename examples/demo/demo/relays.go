package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
)

// childEnv makes the program the relays' process. Its value is a childConfig.
const childEnv = "SIXFOLD_DEMO_RELAYS"

// IsChild reports whether this process was started to be the relays': Main then is them.
func IsChild() bool { return os.Getenv(childEnv) != "" }

type childConfig struct{ Dir, Address string }

// runRelays is the child: the relays of all three services. It says on out what it hands over ("s 12") and what was
// settled of it ("d 12"), and ends when its input does, so that it never outlives its parent.
func runRelays(ctx context.Context, b Broker, text string, in io.Reader, out io.Writer, log *slog.Logger) error {
	var c childConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return fmt.Errorf("demo: read the relays' configuration: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer stop()
		_, _ = io.Copy(io.Discard, in)
	}()
	lines := make(chan string, 64)
	go func() {
		for l := range lines {
			fmt.Fprintln(out, l)
		}
	}()
	services := make(map[string]*Service)
	for _, name := range names() {
		s, err := openService(c.Dir, name, log)
		if err != nil {
			return err
		}
		defer s.sql.Close()
		services[name] = s
	}
	var all []sixfold.Runnable
	for name, s := range services {
		t, err := b.Open(ctx, c.Address, services[next[name]], log)
		if err != nil {
			return err
		}
		defer t.Close(context.WithoutCancel(ctx))
		r, err := outbox.NewRelay(s.st.Outbox(), t, &outbox.RelayOptions{Lease: lease, Logger: log, Hooks: outbox.Hooks{
			Sent:    func(_ string, rows int) { lines <- fmt.Sprintf("s %d", rows) },
			Settled: func(_ string, rows int, _ time.Duration) { lines <- fmt.Sprintf("d %d", rows) },
		}})
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	return sixfold.Run(ctx, all...)
}

// child is the relays' process as its parent sees it.
type child struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	inFlight atomic.Int64
	moved    chan struct{} // a token after messages were handed over
	exited   chan error
}

func startRelays(c childConfig, stderr io.Writer) (*child, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("demo: find this program: %w", err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = stderr
	ch := &child{cmd: cmd, moved: make(chan struct{}, 1), exited: make(chan error, 1)}
	if ch.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("demo: start the relays: %w", err)
	}
	go func() {
		for sc := bufio.NewScanner(out); sc.Scan(); {
			var what string
			var rows int64
			if _, err := fmt.Sscan(sc.Text(), &what, &rows); err != nil {
				continue
			}
			if what == "d" {
				rows = -rows
			}
			if ch.inFlight.Add(rows) <= 0 {
				continue
			}
			select {
			case ch.moved <- struct{}{}:
			default:
			}
		}
		ch.exited <- cmd.Wait()
	}()
	return ch, nil
}

// kill ends the process with SIGKILL.
func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("demo: kill the relays: %w", err)
	}
	<-c.exited
	return nil
}

// stop ends the process in order. Nil has none.
func (c *child) stop() error {
	if c == nil {
		return nil
	}
	c.in.Close()
	if err := <-c.exited; err != nil {
		return fmt.Errorf("demo: the relays did not stop in order: %w", err)
	}
	return nil
}
