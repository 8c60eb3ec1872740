package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestMain(m *testing.M) {
	reexec()
	servers.Main(m)
}

// ended is how a shell script ended.
func ended(t *testing.T, script string) *os.ProcessState {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script)
	_ = cmd.Run() // its state says all
	if cmd.ProcessState == nil {
		t.Fatal("there is no /bin/sh, which this test starts")
	}
	return cmd.ProcessState
}

// options are those of a run in a test: what it says goes to the test's log, its journals and logs to the test's directory.
func options(t *testing.T, messages, faults int) Options {
	began := time.Now()
	return Options{Messages: messages, Faults: faults, Seed: uint64(began.UnixNano()), Broker: "local", Poison: []string{"billing", "audit", "shipping"}, Failing: true, Crashes: 4, Stall: 2 * time.Minute, Bound: 30 * time.Minute,
		Progress: func(line string) { t.Logf("%6.1fs  %s", time.Since(began).Seconds(), line) }}
}

// tortured does a run and fails t with its summary if it has not passed.
func tortured(t *testing.T, o Options) {
	t.Helper()
	switch o.Database { // skips where there is none
	case "mariadb":
		servers.MariaDB(t)
	case "sqlite": // a file
	default:
		servers.Postgres(t)
	}
	t.Logf("seed %d", o.Seed)
	s, err := Torture(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	s.Table(&table)
	t.Log("\n" + table.String())
	if !s.Passed() {
		t.Errorf("the run has not passed: violations %v, missing %q", s.Violations.Count, s.Missing)
	}
}

// The proof: 10,000 messages and 17 faults; 20,000 and 15 over NATS and where a whole one is asked for; 4,000 and 9 where it is a
// smaller one. With -short there are this one and NATS, 2,000 and 5. Handlers fail, some messages for ever, until they are repaired
// and all dead letters sent again.
// guarantees: O1, O2, O3, R1, R2, R3, R4, R5, R6, R7, I1, I3, I4, I7, I8, I9, K1, K2
func TestTorture(t *testing.T) { tortured(t, proof(t, "local")) }

// The same over NATS JetStream, whose server is a victim as well.
// guarantees: O1, O2, O3, R1, R2, R3, R4, R5, R7, I1, I3, I7, I8, K1, K2
func TestTortureNATS(t *testing.T) { tortured(t, proof(t, "nats")) }

// The same over RabbitMQ's quorum queues: its node is a victim, and so are all connections to it.
// guarantees: O1, O2, O3, R1, R2, R3, R4, R5, R7, I1, I3, I7, I8, K1, K2
func TestTortureRabbitMQ(t *testing.T) {
	o := proof(t, "rabbitmq")
	o.Faults += 3                  // more than its need was made for
	o.Send = 40 * time.Millisecond // else a killed relay has only some ten messages in flight
	tortured(t, o)
}

// The same with the database itself as the broker, which every fault of the database hits too.
// guarantees: O1, O2, O3, R1, R2, R3, R4, R5, R7, I1, I3, I7, I8, K1, K2
func TestTortureSQLQueue(t *testing.T) { tortured(t, proof(t, "sqlqueue")) }

// The same on MariaDB, whose server dies, and stands still for longer than every lease.
// guarantees: O1, O2, O3, R1, R2, R3, R4, R5, R6, R7, I1, I3, I4, I7, I8, I9, K1, K2
func TestTortureMariaDB(t *testing.T) {
	o := proof(t, "smaller")
	o.Broker, o.Database = "local", "mariadb"
	tortured(t, o)
}

// The same on a file of SQLite, which all processes share: they die and stand still while they hold its lock. One of them writes at a
// time, so no number is committed behind a greater one, and the answer to COMMIT is never lost.
// guarantees: O1, O2, O3, R1, R2, R3, R4, R5, R6, R7, I1, I3, I4, I7, I8, I9, K1, K2
func TestTortureSQLite(t *testing.T) {
	o := proof(t, "smaller")
	if os.Getenv(wholeEnv) != "whole" { // the race detector slows a database in Go down tenfold
		o.Messages, o.Faults = 1500, 6
		o.Need = fullNeed(o.Faults)
		o.Need.parkedNeed()
		o.Need.ParkedTakenOver, o.Need.ParkedCrashes, o.Need.Resent = 1, 1, 0
		o.Need.DeadLetters = len(o.Poison)
	}
	o.Broker, o.Database = "local", "sqlite"
	o.Need.LateCommits, o.Need.UnknownCommits, o.Need.DuplicateAnswer = 0, 0, 0
	tortured(t, o)
}

// The same over Kafka's protocol: fake brokers in a process of their own, which keeps its data and is a victim too.
// guarantees: O1, O2, O3, R1, R2, R3, R4, R5, R7, I1, I3, I7, I8, K1, K2
func TestTortureKafka(t *testing.T) { tortured(t, proof(t, "kafka")) }

// The same over an emulator of SQS and SNS, FIFO: the way to it is cut, and its answers are lost.
// guarantees: O1, O2, O3, R1, R2, R3, R4, R5, R7, I1, I3, I7, I8, K1, K2
func TestTortureSQS(t *testing.T) {
	servers.AWS(t, servers.Fauxqs) // skips where there is none
	tortured(t, proof(t, "sqs"))
}

// wholeEnv names the variable which, set to whole, gives every broker and database a run of full size. Else those that differ
// least from others have a smaller one, so that all of them together end in time.
const wholeEnv = "SIXFOLD_TORTURE"

// proof are the options of a run that proves something. With -short most are skipped: each takes a minute of the processor's time.
func proof(t *testing.T, broker string) Options {
	if testing.Short() && broker != "local" && broker != "nats" {
		t.Skip("-short: what local consumers and NATS show is enough while one works")
	}
	o := options(t, 20_000, 15)
	asked := os.Getenv(wholeEnv) == "whole"
	whole := asked || broker == "local" || broker == "nats"
	switch {
	case testing.Short():
		o = options(t, 2000, 5)
		o.Poison = []string{"billing"}
		o.Crashes = 2
	case !whole:
		o = options(t, 4000, 9)
		o.Poison = []string{"billing", "shipping"}
		o.Crashes = 3 // a process that dies of something else takes one of them
	case broker == "local" && !asked:
		o = options(t, 10_000, 17)
	}
	o.Broker = broker
	o.Need = fullNeed(o.Faults)
	o.Need.DeadLetters = len(o.Poison)
	switch {
	case testing.Short():
		o.Need.UnknownCommits = 0 // one transaction in 300 draws a cut, which 700 may miss
	case !whole:
		o.Need.parkedNeed()
		// On a fast machine little is in flight when one of a few relays is killed.
		o.Need.ParkedTakenOver, o.Need.ParkedCrashes, o.Need.UnknownCommits, o.Need.Resent = 2, 1, 0, 0
	default:
		o.Need.parkedNeed()
	}
	return o
}

// A run without faults proves nothing, and says so.
func TestTortureWithoutFaultsIsNoProof(t *testing.T) {
	servers.Postgres(t)
	o := options(t, 300, 0)
	o.Poison, o.Failing, o.Need = nil, false, fullNeed(15)
	o.Need.DeadLetters, o.Need.Resumed = 1, 1 // these and both kills are four that no busy machine brings about by itself
	s, err := Torture(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if s.Violations.Total() != 0 {
		t.Errorf("violations %v: %v", s.Violations.Count, s.Violations.Examples)
	}
	if len(s.Missing) < 4 || s.Passed() {
		t.Errorf("missing %q, passed %v", s.Missing, s.Passed())
	}
}

// Nonsense is refused before anything is started, all of it at once.
func TestOptionsRefuseNonsense(t *testing.T) {
	_, err := Torture(t.Context(), Options{Messages: -1, Faults: -1, Keys: 1, Broker: "pigeon", Plant: "gremlin", Deck: []Fault{"flood"}, Database: "papyrus", Poison: []string{"nobody"}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"messages -1", "faults -1", "keys 1", "pigeon", "gremlin", "papyrus", "flood", "nobody"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
}
