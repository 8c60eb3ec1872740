package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/internal/planted"
)

// Options of a run.
type Options struct {
	Messages int           // that publishers commit, at least
	Faults   int           // of the deck in faults.go
	Deck     []Fault       // in place of the ordinary deck; Faults counts from it, again and again
	Seed     uint64        // of every choice that the program makes
	Broker   string        // "local", "kafka", "kafka-real", "nats", "rabbitmq", "sqlqueue" or "sqs"
	Database string        // "postgres", "mariadb" or "sqlite"; empty: postgres
	Plant    planted.Bug   // empty: none
	DSN      string        // of a server that others use too; empty: a private one, which may be a victim
	Lease    time.Duration // of relays and local consumers
	Keys     int           // one of them is hot
	Writers  int           // goroutines of the publisher
	Pending  int           // rows in outbox and local at which the publisher pauses
	Hold     int           // per cent of transactions that stay open after publishing
	HoldFor  time.Duration // at most
	Send     time.Duration // that the broker's connection takes a batch for, at most
	Calm     bool          // handlers do not fail but by poison
	SlowTend time.Duration // latency of keeping parked messages
	Failing  bool          // handlers fail as fate.go says, and crash; else three in a hundred fail once
	Slow     time.Duration // latency that the relays' reads get on top, as with a distant database
	Poison   []string      // consumers that get a message which kills their process
	Attempts int           // of a message, before it becomes a dead letter
	Crashes  int           // poison kills at its first so many attempts and fails at the others; 0: it kills at all
	Stall    time.Duration // without any progress at the end before a run is given up
	Bound    time.Duration // of the whole run; 0: ten minutes, and more with Messages and Faults
	Need     Need
	Dir      string            // for journals and logs; empty: a new one, removed when the run has passed
	Progress func(line string) `json:"-"`
}

// Need is what must have gone wrong at least, or the run has proved nothing.
type Need struct {
	TakeOvers       int
	Resent          int
	UnknownCommits  int
	LateCommits     int
	KillsInTx       int
	KillsAfterTx    int
	HotInFlight     int
	DeadLetters     int
	PlannedStops    int
	DuplicateAnswer int
	Parked          int
	ParkedTakenOver int
	ParkedCrashes   int
	Resumed         int
}

func fullNeed(faults int) Need {
	n := Need{TakeOvers: 5, Resent: 20, UnknownCommits: 1, LateCommits: 3, KillsInTx: 1, KillsAfterTx: 1, HotInFlight: 3, PlannedStops: 2}
	if faults < 15 {
		n.TakeOvers, n.Resent, n.PlannedStops = max(0, faults/3), faults, min(1, faults/5)
		n.KillsInTx, n.KillsAfterTx = min(1, faults/2), min(1, faults/3)
	}
	if faults < 3 {
		n.TakeOvers, n.Resent = 0, 0
	}
	return n
}

// parkedNeed is what must have gone wrong with parked messages in a run whose handlers fail.
func (n *Need) parkedNeed() { n.Parked, n.ParkedTakenOver, n.ParkedCrashes, n.Resumed = 20, 5, 3, 1 }

// defaults fills in what is zero and says everything that is wrong.
func (o *Options) defaults() error {
	set := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	setD := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&o.Keys, 1000)
	set(&o.Writers, 8)
	set(&o.Pending, 2000)
	set(&o.Hold, 3)
	set(&o.Attempts, 12)
	setD(&o.HoldFor, 300*time.Millisecond)
	setD(&o.Lease, 2*time.Second)
	setD(&o.Send, 8*time.Millisecond)
	setD(&o.Stall, 30*time.Second)
	setD(&o.Bound, 10*time.Minute+time.Duration(o.Messages)*20*time.Millisecond+time.Duration(o.Faults)*20*time.Second)
	if o.Database == "" {
		o.Database = "postgres"
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("torture: "+format, args...)) }
	if o.Messages < 1 {
		bad("messages %d: give 1 or more", o.Messages)
	}
	if o.Faults < 0 {
		bad("faults %d: give 0 or more", o.Faults)
	}
	if o.Keys < 2 || o.Keys > 9999 {
		bad("keys %d: give 2 to 9999", o.Keys)
	}
	if brokers[o.Broker] == nil {
		bad("broker %.64q: give local, kafka, kafka-real, nats, rabbitmq, sqlqueue or sqs", o.Broker)
	}
	if databases[o.Database] == nil {
		bad("database %.64q: give postgres, mariadb or sqlite", o.Database)
	}
	if o.Database != "postgres" && (slices.Contains(o.Deck, KillBackend) || o.Plant == planted.SequenceCache) {
		bad("database %.64q has neither processes for sessions nor sequences: leave out fault %q and bug %q", o.Database, KillBackend, planted.SequenceCache)
	}
	if o.Database == "sqlite" && (o.DSN != "" || slices.ContainsFunc(o.Deck, func(f Fault) bool {
		return slices.Contains([]Fault{CrashPostgres, EndSessions, FreezeDatabase}, f)
	})) {
		bad("database %.64q is a file that a run makes itself, and has no server: leave out a DSN and faults of the server", o.Database)
	}
	if o.Plant != "" && !planted.Compiled {
		bad("bug %.64q: this build can plant none; build it with -tags planted", o.Plant)
	}
	for _, f := range o.Deck {
		if !slices.Contains(deck[:], f) && !slices.Contains([]Fault{EndSessions, FreezeDatabase, KillBroker, RestartBroker, EndConnections, KillParked, FreezeParked}, f) {
			bad("fault %.64q: give some of %q", f, deck)
		}
	}
	for _, name := range o.Poison {
		if name != "billing" && name != "audit" && name != "shipping" {
			bad("poison %.64q: give some of billing, audit and shipping", name)
		}
	}
	known := o.Plant == ""
	for _, b := range planted.All() {
		known = known || b == o.Plant
	}
	if !known {
		bad("bug %.64q: it is none of %v", o.Plant, planted.All())
	}
	return errors.Join(errs...)
}

// expected are the consumers, and what each must have done. notes and marks follow some of what billing and audit do.
func expected() []Expect {
	return []Expect{{Name: "billing"}, {Name: "shipping"}, {Name: "audit"},
		{Name: "notes", After: "billing", Every: 2}, {Name: "marks", After: "audit", Every: 4}}
}
