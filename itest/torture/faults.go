package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/itest/servers"
)

// Fault is something that the orchestrator does to a run.
type Fault string

// The faults.
const (
	KillRelay      Fault = "kill relay"
	FreezeRelay    Fault = "freeze relay"
	StopRelay      Fault = "stop relay"
	KillConsumer   Fault = "kill consumer"
	FreezeConsumer Fault = "freeze consumer"
	StopConsumer   Fault = "stop consumer"
	KillInTx       Fault = "kill in tx"
	KillAfterTx    Fault = "kill after tx"
	KillPublisher  Fault = "kill publisher"
	StopPublisher  Fault = "stop publisher"
	CrashPostgres  Fault = "crash postgres"
	KillBackend    Fault = "kill backend"
	EndSessions    Fault = "end sessions"
	KillBroker     Fault = "kill broker"
	RestartBroker  Fault = "restart broker"
	EndConnections Fault = "end connections"
	KillParked     Fault = "kill parked"
	FreezeParked   Fault = "freeze parked"
	FreezeDatabase Fault = "freeze database" // MariaDB, which is one process
)

// deck is one round of faults: every kind, those of relays more often. A run of fewer faults takes the first ones; the
// order is drawn afterwards.
var deck = [...]Fault{KillRelay, KillInTx, KillAfterTx, FreezeRelay, StopRelay, KillBackend, KillConsumer, KillRelay, CrashPostgres, KillPublisher,
	FreezeConsumer, StopConsumer, FreezeRelay, KillRelay, StopPublisher, KillParked, FreezeParked}

// brokerDeck replaces some of deck where the broker is a process.
var brokerDeck = map[int]Fault{6: KillBroker, 12: RestartBroker}

// connectionEnder is a broker that can close the connections of its clients.
type connectionEnder interface {
	CloseConnections(ctx context.Context) error
}

// enders are the faults in whose place such a broker closes connections.
var enders = []int{3, 14}

// draw answers the run's faults in their order.
func draw(o *Options, rng *rand.Rand, broker brokerServer) []Fault {
	from := o.Deck
	if from == nil {
		from = deck[:]
	}
	out := make([]Fault, o.Faults)
	for i := range out {
		out[i] = from[i%len(from)]
		if b, ok := brokerDeck[i%len(from)]; ok && broker != nil && o.Deck == nil {
			out[i] = b
		}
		if _, ok := broker.(connectionEnder); ok && o.Deck == nil && slices.Contains(enders, i%len(from)) {
			out[i] = EndConnections
		}
		if o.Database == "mariadb" && out[i] == KillBackend { // it has threads
			out[i] = FreezeDatabase
		}
		if o.Database == "sqlite" { // it has no server: whoever holds its lock dies, or stands still with it
			switch out[i] {
			case CrashPostgres:
				out[i] = KillConsumer
			case KillBackend:
				out[i] = FreezeConsumer
			}
		}
		if o.DSN != "" && (out[i] == CrashPostgres || out[i] == KillBackend || out[i] == FreezeDatabase) {
			out[i] = EndSessions // the server is not ours alone
		}
	}
	rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// strike does f, and returns when its victim is up again.
func (r *run) strike(ctx context.Context, f Fault) error {
	victims := map[Fault]string{KillRelay: "relay", FreezeRelay: "relay", StopRelay: "relay", KillConsumer: "consumer", FreezeConsumer: "consumer", StopConsumer: "consumer",
		KillInTx: "consumer", KillAfterTx: "consumer", KillPublisher: "publisher", StopPublisher: "publisher"}
	for try := 0; ; try++ {
		var err error
		switch f {
		case KillRelay, KillConsumer, KillPublisher:
			err = r.kill(ctx, r.pick(victims[f]))
		case FreezeRelay, FreezeConsumer:
			err = r.freeze(ctx, r.pick(victims[f]))
		case StopRelay, StopConsumer, StopPublisher:
			err = r.stop(ctx, r.pick(victims[f]))
		case KillInTx:
			err = r.suicide(ctx, r.pick(victims[f]), "kill-in-tx", eventKillInTx)
		case KillAfterTx:
			err = r.suicide(ctx, r.pick(victims[f]), "kill-after-tx", eventKillAfterTx)
		case KillParked:
			_, _, err = r.atParked(ctx, "kill-parked")
		case FreezeParked:
			err = r.freezeParked(ctx)
		case CrashPostgres:
			err = errors.Join(r.server.Stop(servers.Immediate), pauseFor(ctx, r.between(100, 600)), r.server.Start(ctx))
		case KillBackend:
			err = r.killBackend(ctx)
		case EndSessions:
			err = r.database().endSessions(ctx, r.pool)
		case FreezeDatabase:
			err = errors.Join(signalProcess(r.server.Pid(), sigFreeze), pauseFor(ctx, r.o.Lease*3/2+r.between(0, 500)), signalProcess(r.server.Pid(), sigThaw))
		case KillBroker:
			err = errors.Join(r.broker.Kill(), pauseFor(ctx, r.between(100, 600)), r.broker.Start(ctx))
		case RestartBroker:
			err = errors.Join(r.broker.Stop(), r.broker.Start(ctx))
		case EndConnections:
			ender, ok := r.broker.(connectionEnder)
			if !ok {
				return fmt.Errorf("torture: %s: this broker cannot; leave it out of the deck", f)
			}
			err = ender.CloseConnections(ctx)
		default:
			return fmt.Errorf("torture: fault %q: there is no such fault", f)
		}
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if try == 20 {
			return fmt.Errorf("torture: %s: %w", f, err)
		}
		r.allow(int(r.until.Load()) + 1 + r.o.Messages/100) // else what it waits for may never come
		if err := pauseFor(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

func pauseFor(ctx context.Context, d time.Duration) error {
	wait(ctx, d)
	return ctx.Err()
}

// between draws a time in milliseconds.
func (r *run) between(low, high int) time.Duration {
	return time.Duration(low+r.rng.IntN(high-low)) * time.Millisecond
}

func (r *run) pick(role string) *slot {
	var of []*slot
	for _, s := range r.slots {
		if s.role == role {
			of = append(of, s)
		}
	}
	return of[r.rng.IntN(len(of))]
}

// busy waits until a relay has just brought something to the broker, which it has not settled yet, or is sending the next
// batch already; it does not wait for long, and for others not at all.
func (r *run) busy(ctx context.Context, s *slot) {
	if s.role != "relay" {
		return
	}
	s.mu.Lock()
	tap := s.path("tap", s.count, "jsonl")
	s.mu.Unlock()
	size := func() int64 {
		info, err := os.Stat(tap)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	before := size()
	for end := time.Now().Add(3 * time.Second); size() == before && time.Now().Before(end) && wait(ctx, time.Millisecond); {
	}
	wait(ctx, r.between(3, 30)+time.Duration(r.rng.Int64N(int64(r.o.Send/2))))
}

func (r *run) kill(ctx context.Context, s *slot) error {
	if s.role == "relay" && r.o.Deck == nil && r.struck[KillRelay]%3 < 2 {
		i, err := s.tell("kill-sending")
		if err == nil {
			err = await(ctx, i, 10*time.Second)
		}
		if err == nil || ctx.Err() != nil {
			return err
		} // there is not that much to send: it is killed with less
	}
	r.busy(ctx, s)
	i, err := s.signal(sigKill)
	if err != nil {
		return gone(s, err)
	}
	return await(ctx, i, patience)
}

// gone makes it no error that the publisher is finished.
func gone(s *slot, err error) error {
	if s.role != "publisher" {
		return err
	}
	select {
	case <-s.finished:
		return nil
	default:
		return err
	}
}

// freeze stops a process for longer than its lease.
func (r *run) freeze(ctx context.Context, s *slot) error {
	r.busy(ctx, s)
	i, err := s.signal(sigFreeze)
	if err != nil {
		return err
	}
	wait(ctx, r.o.Lease*3/2+r.between(0, 500))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != i {
		return errNobody
	}
	return i.cmd.Process.Signal(sigThaw)
}

// stop asks a process to end in order.
func (r *run) stop(ctx context.Context, s *slot) error {
	r.busy(ctx, s)
	i, err := s.terminate()
	if err != nil {
		return gone(s, err)
	}
	if err := await(ctx, i, patience); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case i.clean():
		r.stops.Add(1)
	case i.unsure():
		return fmt.Errorf("torture: %s was taken over before it had stopped, or came from an outage", i.name())
	}
	return nil
}

// suicide tells a consumer to kill itself at its next chance. One that dies of something else meanwhile does not count.
func (r *run) suicide(ctx context.Context, s *slot, how, event string) error {
	i, err := s.tell(how)
	if err != nil {
		return err
	}
	if err := await(ctx, i, 3*time.Second); err != nil {
		return err
	}
	did := false
	err = readJournal(s.path("events", i.number, "jsonl"), func(e Event) { did = did || e.What == event })
	if err == nil && !did {
		err = fmt.Errorf("torture: %s died of something else", i.name())
	}
	return err
}

func await(ctx context.Context, i *incarnation, limit time.Duration) error {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-i.ended:
		return nil
	case <-t.C:
		return fmt.Errorf("torture: %s has not ended after %v", i.name(), limit)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// killBackend kills one session's process, which makes PostgreSQL end all of them and recover.
func (r *run) killBackend(ctx context.Context) error {
	var pid int
	err := r.pool.row(ctx, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1", nil, &pid)
	if err != nil {
		return err
	}
	if err := signalProcess(pid, sigKill); err != nil {
		return err
	}
	for r.pool.ping(ctx) != nil {
		if err := pauseFor(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// signalProcess sends sig to a process of the private server.
func signalProcess(pid int, sig os.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Signal(sig)
}

// atParked tells every consumer to do something at its next parked message; only the first one does. It answers which, and what that one says
// about the message.
func (r *run) atParked(ctx context.Context, what string) (s *slot, said []string, err error) {
	r.asked++
	file := fmt.Sprintf("%s-%d", what, r.asked)
	told := false
	for _, s := range r.slots {
		if s.role == "consumer" {
			_, err := s.tell(what + " " + file)
			told = told || err == nil
		}
	}
	for end := time.Now().Add(10 * time.Second); told && time.Now().Before(end) && ctx.Err() == nil; wait(ctx, 2*time.Millisecond) {
		if s, said := r.whoMade(file); s != nil {
			return s, said, nil
		}
	}
	if claimFile(r.o.Dir, file, "") { // nobody shall do it later
		return nil, nil, errors.New("torture: no parked message came")
	}
	for ctx.Err() == nil {
		if s, said := r.whoMade(file); s != nil {
			return s, said, nil
		}
		wait(ctx, 2*time.Millisecond)
	}
	return nil, nil, ctx.Err()
}

// whoMade reads a file: a slot's name, and what else is in it.
func (r *run) whoMade(file string) (*slot, []string) {
	text, err := os.ReadFile(filepath.Join(r.o.Dir, file))
	words := strings.Fields(string(text))
	if err != nil || len(words) == 0 {
		return nil, nil
	}
	for _, s := range r.slots {
		if s.name == words[0] {
			return s, words[1:]
		}
	}
	return nil, nil
}

// freezeParked has a consumer stop itself with a parked message in hand, for longer than its lease, and until another one has handled the
// message: what it does when it goes on is done twice, if anything is.
func (r *run) freezeParked(ctx context.Context) error {
	s, said, err := r.atParked(ctx, "freeze-parked")
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.live != nil {
		s.live.frozen = true
	}
	s.mu.Unlock()
	wait(ctx, 2*parkingLease+r.between(0, 500))
	// Not for long: it may stand still with a lock in hand, for which others wait.
	for end := time.Now().Add(min(r.o.Stall/2, 8*time.Second)); !r.handled(ctx, said) && time.Now().Before(end) && wait(ctx, 50*time.Millisecond); {
	}
	_, err = s.signal(sigThaw)
	if errors.Is(err, errNobody) {
		return nil // something else had killed it
	}
	return err
}

// handled reports whether a message has taken effect; said are its consumer and its id.
func (r *run) handled(ctx context.Context, said []string) (yes bool) {
	err := r.pool.row(ctx, "SELECT EXISTS (SELECT 1 FROM effect WHERE consumer = $1 AND msg = $2)", []any{said[0], said[1]}, &yes)
	return err == nil && yes
}
