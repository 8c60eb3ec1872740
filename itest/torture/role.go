package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/store"
)

// roleEnv marks a process of ours that plays a role; its value is the role's Config.
const roleEnv = "SIXFOLD_TORTURE_ROLE"

// Config is what a role's process is told at its start. The rest comes through its standard input, a command a line.
type Config struct {
	Role        string // "publisher", "relay", "consumer" or "redriver"
	Slot        string // its name, which its successors bear too
	Incarnation int    // counts from 1
	Dir         string // for journals
	DSN         string
	BrokerURL   string
	Options     Options
}

// path is a journal of this process.
func (c Config) path(kind string) string {
	return filepath.Join(c.Dir, fmt.Sprintf("%s-%s-%03d.jsonl", kind, c.Slot, c.Incarnation))
}

// process is what every role has.
type process struct {
	Config
	db     pool
	store  *store.Store
	events *journal
	log    *slog.Logger

	until       atomic.Int64 // publisher: messages that may be committed so far
	inTx        atomic.Bool  // consumer: the next handler kills the process before it commits
	afterCommit atomic.Bool  // consumer: the next handler kills the process after it has committed

	killSending atomic.Bool // relay: the process is killed when the broker has taken enough that the relay has not heard of

	killParked, freezeParked atomic.Pointer[string] // consumer: who runs a parked message first, and makes this file, does that
}

// Event is something that happened inside a role.
type Event struct {
	What  string    `json:"what"`
	Class string    `json:"class,omitempty"`
	N     int       `json:"n,omitempty"`
	At    time.Time `json:"at"`
}

// What can happen.
const (
	eventTakeOver    = "take-over"  // N partitions of Class came from a dead owner
	eventFenced      = "fenced"     // the process was found to have lost its lease
	eventLate        = "late"       // N rows with a lower number than one read before
	eventKillInTx    = "kill in tx" // the process kills itself
	eventKillAfterTx = "kill after tx"
	eventPoison      = "poison"
	eventSuspect     = "suspect" // N attempts of a message that may have killed a process
	eventClaimed     = "claimed" // N lines of parked messages came from a dead owner
	eventCrash       = "crash"   // N parked messages, one, and the process kills itself
	eventResumed     = "resumed" // a redrive that had been killed, with N messages
)

func (p *process) event(what, class string, n int) {
	p.events.add(Event{what, class, n, time.Now()})
}

// reexec plays the role that this process was started for, if any, and never returns then.
func reexec() {
	text, ok := os.LookupEnv(roleEnv)
	if !ok {
		return
	}
	err := playRole(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	var doubt *sixfold.DrainError
	switch {
	case errors.As(err, &doubt) && doubt.Cause != nil:
		os.Exit(exitInDoubt)
	case err != nil:
		os.Exit(1)
	}
	os.Exit(0)
}

// exitInDoubt is how a role ends that leaves something in doubt which more time would not have settled: another took over while it stopped, or an
// outage had taken the confirms.
const exitInDoubt = 3

func playRole(text string) error {
	p := &process{}
	if err := json.Unmarshal([]byte(text), &p.Config); err != nil {
		return fmt.Errorf("torture: %s is not a role's configuration: %w", roleEnv, err)
	}
	roles := map[string]func(context.Context, *process) error{"relay": runRelay, "redriver": runRedriver}
	if d := databases[p.Options.Database]; d != nil {
		roles["publisher"], roles["consumer"] = d.publisher, d.consumer
	}
	role := roles[p.Role]
	if role == nil {
		return fmt.Errorf("torture: role %.64q: it is none of publisher, relay, consumer, redriver", p.Role)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, sigTerminate)
	defer stop()
	go p.listen()
	p.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	var err error
	if p.events, err = openJournal(p.path("events")); err != nil {
		return err
	}
	if err := p.connect(ctx); err != nil {
		return err
	}
	defer p.db.close()
	return role(ctx, p)
}

// listen obeys the orchestrator. The end of its input means that the orchestrator is gone, so that nothing is left behind.
func (p *process) listen() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		command, arg, _ := strings.Cut(lines.Text(), " ")
		switch command {
		case "until":
			n, _ := strconv.ParseInt(arg, 10, 64)
			p.until.Store(n)
		case "kill-in-tx":
			p.inTx.Store(true)
		case "kill-after-tx":
			p.afterCommit.Store(true)
		case "kill-sending":
			p.killSending.Store(true)
		case "kill-parked":
			p.killParked.Store(&arg)
		case "freeze-parked":
			p.freezeParked.Store(&arg)
		}
	}
	killSelf()
}

// connect opens the pool and waits for the database, which may be down just now.
func (p *process) connect(ctx context.Context) error {
	connections := map[string]int{"publisher": p.Options.Writers + 4, "relay": 8, "consumer": 40, "redriver": 4}[p.Role]
	var err error
	if p.db, err = databases[p.Options.Database].open(p.DSN, connections); err != nil {
		return err
	}
	if p.store, err = p.db.store(&store.Options{Logger: p.log}); err != nil {
		return err
	}
	for p.db.ping(ctx) != nil {
		if !wait(ctx, 20*time.Millisecond) {
			return nil
		}
	}
	return nil
}

// wait waits, and reports false when ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
