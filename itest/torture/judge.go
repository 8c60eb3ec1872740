package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// judge reads the ledger and every journal, and compares them.
func (r *run) judge(ctx context.Context) (*Summary, error) {
	r.say("checking")
	s := &Summary{Seed: r.o.Seed, Broker: r.o.Broker, Database: r.o.Database, Plant: string(r.o.Plant), Dir: r.o.Dir, Effects: map[string]int{}, Transactions: map[Said]int{}, Faults: r.struck, Need: r.o.Need}
	facts, err := r.facts(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Resolved = Check(facts, &r.violations)
	for _, n := range facts.Keys {
		s.Messages += int(n)
	}
	for _, e := range facts.Effects {
		s.Effects[e.Consumer]++
	}
	for i := range facts.Txs {
		t := &facts.Txs[i]
		s.Transactions[t.Said]++
		if t.Cut || t.Said == Unknown {
			s.UnknownCommits++
		}
		if t.Held {
			s.Held++
		}
	}
	s.DeadLetters, s.Killed, s.PlannedStops, s.HotInFlight = len(facts.Dead), int(r.kills.Load()), int(r.stops.Load()), int(r.hot.Load())
	s.DuplicateAnswers = s.Transactions[Duplicate]
	s.Parked = facts.Parked
	err = errors.Join(r.readEvents(s), r.readTaps(s), r.readHandled())
	s.Violations = r.violations
	s.Missing = s.missing()
	return s, err
}

func (r *run) facts(ctx context.Context) (*Facts, error) {
	if r.server != nil { // a run that failed may have left it down
		if err := r.server.Start(ctx); err != nil {
			return nil, err
		}
	}
	if !r.repaired && r.buried == 0 {
		if err := r.bury(ctx); err != nil {
			return nil, err
		}
	}
	f, err := readLedger(ctx, r.database(), r.pool)
	if err != nil {
		return nil, err
	}
	f.Consumers = expected()
	f.Poison = append(f.Poison, r.o.doomed(f.Keys)...)
	f.Repaired, f.Unended = r.repaired, r.unended
	paths, err := filepath.Glob(filepath.Join(r.o.Dir, "txs-*.jsonl"))
	if err != nil {
		return nil, err
	}
	f.Txs, err = readTxs(paths)
	return f, err
}

// everyone calls fn for every process that there was.
func (r *run) everyone(fn func(s *slot, i *incarnation) error) error {
	var errs []error
	for _, s := range r.slots {
		for _, i := range s.history {
			errs = append(errs, fn(s, i))
		}
	}
	return errors.Join(errs...)
}

// readEvents counts what happened inside the processes, and notes which of them lost a lease.
func (r *run) readEvents(s *Summary) error {
	return r.everyone(func(sl *slot, i *incarnation) error {
		path := sl.path("events", i.number, "jsonl")
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil // it was killed before it began
		}
		return readJournal(path, func(e Event) {
			switch e.What {
			case eventTakeOver:
				s.TakeOvers++
			case eventFenced:
				s.Fenced++
				i.fenced = true
			case eventLate:
				s.LateCommits += e.N
			case eventKillInTx:
				s.KillsInTx++
			case eventKillAfterTx:
				s.KillsAfterTx++
			case eventPoison:
				s.PoisonKills++
			case eventClaimed:
				s.ParkedTakenOver += e.N
			case eventCrash:
				s.ParkedCrashes++
			case eventResumed:
				s.Resumed++
			case eventSuspect:
				s.MostAttempts = max(s.MostAttempts, e.N)
			}
		})
	})
}

// arrival is when, and at whose hands, something arrived last.
type arrival struct {
	at int64
	by *incarnation
}

// again judges that something which arrived before has arrived once more: after a planned stop of a process that had its
// lease to the end, what it did must never be done again by one that had its lease too.
func (a arrival) again(b arrival) (resent bool, later arrival) {
	if b.at < a.at {
		a, b = b, a
	}
	steady := func(i *incarnation) bool { return !i.frozen && !i.fenced }
	return a.by != b.by && a.by.clean() && steady(a.by) && steady(b.by), b
}

// readTaps counts what was sent again.
func (r *run) readTaps(s *Summary) error {
	type sent struct {
		id    msgID
		topic string
	}
	last := map[sent]arrival{}
	topics := map[string]string{}
	return r.everyone(func(sl *slot, i *incarnation) error {
		return readLines(sl.path("tap", i.number, "jsonl"), func(at int64, id, topic string) {
			known, ok := topics[topic]
			if !ok {
				known = topic
				topics[topic] = topic
			}
			k := sent{topic: known}
			k.id, _ = parseMsgID(id) // the tap wrote what the relay had parsed
			s.Relayed++
			now := arrival{at, i}
			if before, seen := last[k]; seen {
				s.Resent++
				again, later := before.again(now)
				if now = later; again {
					r.violations.add(Resent, "message %s to %s was sent again by %s after its first sender had been stopped in order", id, topic, i.name())
				}
			}
			last[k] = now
		})
	})
}

// readHandled looks for deliveries that were handled again after a planned stop. Only a local table gives each delivery a
// number of its own.
func (r *run) readHandled() error {
	type handled struct {
		consumer string
		seq      int64
	}
	last := map[handled]arrival{}
	local := map[string]string{}
	for _, x := range expected() {
		if r.o.Broker == "local" || x.inDatabase() {
			local[x.Name] = x.Name
		}
	}
	return r.everyone(func(sl *slot, i *incarnation) error {
		return readLines(sl.path("handled", i.number, "jsonl"), func(at int64, consumer, sequence string) {
			name, is := local[consumer]
			_, number, _ := strings.Cut(sequence, "/")
			seq, err := strconv.ParseInt(number, 10, 64)
			if !is || err != nil {
				return
			}
			now := arrival{at, i}
			k := handled{name, seq}
			if before, seen := last[k]; seen {
				again, later := before.again(now)
				if now = later; again {
					r.violations.add(Resent, "delivery %s of %s was handled again by %s after it had been handled by a process that was stopped in order", sequence, consumer, i.name())
				}
			}
			last[k] = now
		})
	})
}
