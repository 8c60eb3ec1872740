package saga

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// townEnv makes this program a town; its value is a life as JSON.
const townEnv = "SIXFOLD_TEST_TOWN"

// life of a process: where it lives, and where it waits for its death, if not anywhere.
type life struct {
	Driver, DSN string
	// At which commit, counted from 1, of the handlers, or of the Scheduler; before it or Behind it. 0: nowhere.
	At                int64
	Scheduler, Behind bool
}

// beTown is the other process of TestKilled. It works until it is killed, or until who started it closes its input.
func beTown() {
	text := os.Getenv(townEnv)
	if text == "" {
		return
	}
	err := func() error {
		var l life
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			return err
		}
		raw, err := sql.Open(l.Driver, l.DSN)
		if err != nil {
			return err
		}
		raw.SetMaxOpenConns(10)
		ctx, stop := context.WithCancel(context.Background())
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
		rs, err := l.runnables(raw)
		if err != nil {
			return err
		}
		fmt.Println("ready")
		return sixfold.Run(ctx, rs...)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runnables are the consumers and the scheduler of a town.
func (l life) runnables(raw *sql.DB) ([]sixfold.Runnable, error) {
	db := sqltx.StdDB(raw)
	handlers, promotions := l.mortal(db, !l.Scheduler), l.mortal(db, l.Scheduler)
	st, err := openStore(l.Driver, db)
	if err != nil {
		return nil, err
	}
	t, err := newTown(l.Driver, st, handlers)
	if err != nil {
		return nil, err
	}
	var rs []sixfold.Runnable
	for group, routes := range t.routes {
		local, err := outbox.NewLocal(st.Outbox(), db, &outbox.LocalOptions{Lease: 400 * time.Millisecond, Poll: 50 * time.Millisecond, Logger: quiet()})
		if err != nil {
			return nil, err
		}
		c, err := bus.NewConsumer(local, bus.Subscription{Group: group, Ordered: true}, &bus.Options{Concurrency: 4, ParkingLease: 400 * time.Millisecond, ParkingPoll: 50 * time.Millisecond, Logger: quiet()}, routes...)
		if err != nil {
			return nil, err
		}
		rs = append(rs, c)
	}
	later, err := openStore(l.Driver, promotions)
	if err != nil {
		return nil, err
	}
	s, err := schedule.New(later.Schedule(), t.out, &schedule.Options{Logger: quiet(), Poll: 50 * time.Millisecond, OnError: func(error) {}})
	return append(rs, s), err
}

// mortal is db, whose transactions come to the place where the process waits for its death.
func (l life) mortal(db sqltx.DB[*sql.Tx], here bool) sqltx.DB[*sql.Tx] {
	if !here || l.At == 0 {
		return db
	}
	var n atomic.Int64
	stop := func() {
		fmt.Println("at")
		select {}
	}
	db.Exec, db.Query = nil, nil // so that everything is a transaction
	run := db.Run
	db.Run = func(ctx context.Context, fn func(*sql.Tx) error) error {
		at := false
		err := run(ctx, func(tx *sql.Tx) error {
			if err := fn(tx); err != nil {
				return err
			}
			if at = n.Add(1) == l.At; at && !l.Behind {
				stop()
			}
			return nil
		})
		if err == nil && at {
			stop()
		}
		return err
	}
	return db
}

// process is a town in a process of its own.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	says  chan string // its lines
}

// process starts one, and returns when it is at work.
func (w *world) process(l life) *process {
	w.Helper()
	text, err := json.Marshal(l)
	must(w.T, err)
	p := &process{cmd: exec.Command(os.Args[0]), says: make(chan string, 10)}
	p.cmd.Env = append(os.Environ(), townEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	p.stdin, err = p.cmd.StdinPipe()
	must(w.T, err)
	stdout, err := p.cmd.StdoutPipe()
	must(w.T, err)
	must(w.T, p.cmd.Start())
	go func() {
		defer close(p.says)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			p.says <- lines.Text()
		}
	}()
	if err := p.hear("ready"); err != nil {
		p.kill()
		w.Fatal(err)
	}
	return p
}

// hear waits until it says that.
func (p *process) hear(want string) error {
	select {
	case got := <-p.says:
		if got != want {
			return fmt.Errorf("a process says %q, and not %q", got, want)
		}
		return nil
	case <-time.After(time.Minute):
		return errors.New("a process does not say within a minute: " + want)
	}
}

// kill ends it as a power cut would (SIGKILL).
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	for range p.says {
	}
	_ = p.cmd.Wait() // it was killed
}
