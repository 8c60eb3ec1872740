package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An Emulator is a program that plays SQS and SNS.
type Emulator string

// The emulators. They are independent of each other: one is written in JavaScript, the other in Python.
const (
	Fauxqs Emulator = "fauxqs"
	Moto   Emulator = "moto"
)

// An AWSServer is an emulator of SQS and SNS in a child process. It keeps everything in memory: what it had is gone when it
// ends. Its methods may be called by several goroutines.
type AWSServer struct {
	kind Emulator
	bin  *awsBinary
	dir  string // holds log and pid file; removed by Close

	mu     sync.Mutex // held while the emulator starts or stops
	guard  *watchdog
	server *process
	port   int // fixed by the first start that succeeds
	closed bool
}

// StartAWS starts an emulator and returns once it answers, which takes about a second. Where it is not there, it is installed
// into the user's cache by npm or pip, which takes a minute. The context limits the start only. Whoever starts one must close it.
func StartAWS(ctx context.Context, kind Emulator) (*AWSServer, error) {
	bin, err := findAWS(ctx, kind)
	if err != nil {
		return nil, err
	}
	a := &AWSServer{kind: kind, bin: bin}
	if a.dir, err = os.MkdirTemp("", "sixfold-"+string(kind)+"-"); err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	if a.guard, err = watch(a.path("pid"), a.dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(a.dir))
	}
	if err := a.Start(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// Start starts an emulator that was stopped or killed, on the port it had, and empty. It does nothing if it runs.
func (a *AWSServer) Start(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return fmt.Errorf("servers: start %s: it was closed; start another", a.kind)
	}
	if a.server.running() {
		return nil
	}
	for try := 1; ; try++ {
		err := a.startOnce(ctx)
		if err == nil {
			return nil
		}
		if try == 10 || ctx.Err() != nil || !strings.Contains(strings.ToLower(a.Log()), "address already in use") {
			return fmt.Errorf("servers: start %s: %w", a.kind, err)
		}
	}
}

func (a *AWSServer) startOnce(ctx context.Context) error {
	port := a.port
	if port == 0 {
		var err error
		if port, err = freePort(); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(a.path("log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(a.bin.program, a.bin.args(port)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = a.dir, log, log
	// Nothing of the machine's own settings for AWS reaches it.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") && !strings.HasPrefix(v, "FAUXQS_") && !strings.HasPrefix(v, "MOTO_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, a.bin.env...)
	server, err := startProcess(cmd, os.Kill)
	if err != nil {
		return fmt.Errorf("%w (program %s)", err, a.bin.program)
	}
	err = os.WriteFile(a.path("pid"), []byte(strconv.Itoa(server.pid())+"\n"), 0o600)
	if err == nil {
		err = a.awaitReady(ctx, server, port)
	}
	if err != nil {
		return errors.Join(err, server.stop(os.Kill, time.Minute))
	}
	a.server, a.port = server, port
	return nil
}

// awaitReady returns once the emulator answers a request, whatever it says.
func (a *AWSServer) awaitReady(ctx context.Context, server *process, port int) error {
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	for end := time.Now().Add(2 * time.Minute); ; {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+loopback(port)+"/", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			return response.Body.Close()
		}
		select {
		case <-server.ended:
			return fmt.Errorf("it ended at once; it says:\n%s", a.Log())
		case <-ctx.Done():
			return fmt.Errorf("%w before it was ready; it says:\n%s", ctx.Err(), a.Log())
		case <-time.After(50 * time.Millisecond):
			if time.Now().After(end) {
				return fmt.Errorf("it does not answer; it says:\n%s", a.Log())
			}
		}
	}
}

// Kill kills the emulator (SIGKILL) and returns once it has ended. It does nothing if it does not run.
func (a *AWSServer) Kill() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.server.stop(os.Kill, time.Minute); err != nil {
		return fmt.Errorf("servers: kill %s: %w", a.kind, err)
	}
	return nil
}

// Close ends the emulator and removes what it made. It may be called more than once.
func (a *AWSServer) Close() error {
	err := a.Kill() // nothing of it is kept; an orderly end would be for nothing
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return err
	}
	a.closed = true
	os.Remove(a.path("pid")) // the number may be another process's by now
	a.guard.release()
	return errors.Join(err, os.RemoveAll(a.dir))
}

// Pid returns the process id, or 0 if the emulator does not run.
func (a *AWSServer) Pid() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.server.running() {
		return 0
	}
	return a.server.pid()
}

// URL returns the endpoint of both services. It stays the same over restarts.
func (a *AWSServer) URL() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return "http://" + loopback(a.port)
}

// Kind says which emulator it is.
func (a *AWSServer) Kind() Emulator { return a.kind }

// Log returns the end of the log of the emulator's run.
func (a *AWSServer) Log() string {
	text, err := os.ReadFile(a.path("log"))
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return tail(text)
}

func (a *AWSServer) path(name string) string { return filepath.Join(a.dir, name) }
