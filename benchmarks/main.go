// Command benchmarks measures Sixfold beside its peers: each case runs the peer, which is the raw limit or another
// library, and Sixfold in turn, on private servers, and prints one line of JSON with both and their ratio. A table of all
// cases ends the run. Progress goes to standard error.
//
//	go run . [-case NAME] [-rounds N] [-quick] [-strict] [-list]
//
// docs/benchmarks.md says what each case measures and how to read the result.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/sixfold-go/sixfold/itest/servers"
)

func main() {
	servers.Reexec() // this program is its own NATS server, so that the server's CPU is not ours
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "benchmarks:", err)
		}
		stop()
		os.Exit(1)
	}
}

// all is every case, in the order in which they run.
func all() []benchmark {
	return []benchmark{
		{"publish-1", "a business transaction that publishes one message, 8 connections", publishOne},
		{"publish-1-fsync", "the same with 32 connections where each flush takes 2 ms", publishOneFsync},
		{"publish-5", "five messages in one business transaction, 8 connections", publishFive},
		{"publish-unit", "a unit of work with one message, committed with it in one round trip", publishUnit},
		{"publish-allocs", "what publishing allocates, pgx's own included", publishAllocs},
		{"relay-nats", "draining committed rows to JetStream", onNATS(relayDrain)},
		{"relay-nats-gaps", "the same with a gap after every ninth row", onNATS(relayGaps)},
		{"relay-cpu", "CPU of this process for each message relayed to JetStream", onNATS(relayCPU)},
		{"relay-memory", "draining committed rows to the broker in the process", onMemory(relayDrain)},
		{"relay-memory-gaps", "the same with a gap after every ninth row", onMemory(relayGaps)},
		{"relay-memory-cpu", "CPU of this process for each message relayed in the process", onMemory(relayCPU)},
		{"latency", "from commit to JetStream's confirm on a quiet system", onNATS(latency)},
		{"latency-memory", "the same to the broker in the process", onMemory(latency)},
		{"hot-key", "relaying one key to JetStream, beside no keys", onNATS(hotKey)},
		{"hot-key-memory", "the same to the broker in the process", onMemory(hotKey)},
		{"keys-1000", "relaying a thousand keys to JetStream, beside no keys", onNATS(thousandKeys)},
		{"keys-1000-memory", "the same to the broker in the process", onMemory(thousandKeys)},
		{"two-relays", "two relays beside one, on a fast broker", onMemory(twoRelays)},
		{"two-relays-nats", "the same to JetStream", onNATS(twoRelays)},
		{"idle-snapshot", "relaying while somebody's snapshot keeps dead rows alive", onMemory(idleSnapshot)},
		{"full-sweep", "a new relay's way to its first send over dead rows", onMemory(fullSweep)},
		{"idle-queries", "queries of an idle relay that holds every lease", onMemory(idleQueries)},
		{"memory", "the heap of a relay after many messages", onMemory(heapGrowth)},
		{"consume", "a consumer without a database on JetStream", onNATS(consume)},
		{"relay-rabbitmq", "draining committed rows to RabbitMQ's quorum queues", relayRabbitMQ},
		{"consume-rabbitmq", "a consumer without a database on RabbitMQ's quorum queues", consumeRabbitMQ},
		{"driver-nats", "the driver by itself, sending and receiving, beside JetStream's client", driverNATS},
		{"driver-rabbitmq", "the driver by itself, sending and receiving, beside RabbitMQ's client", driverRabbitMQ},
		{"driver-kafka", "the driver by itself, sending and receiving, beside Kafka's client", driverKafka},
		{"driver-sqs", "the driver by itself, sending and receiving, beside SQS's client, on an emulator", driverSQS},
		{"relay-kafka", "draining committed rows to Kafka", relayKafka},
		{"consume-kafka", "a consumer without a database on Kafka", consumeKafka},
		{"relay-sqs", "draining committed rows to an emulator of SQS", relaySQS},
		{"consume-sqs", "a consumer without a database on an emulator of SQS", consumeSQS},
		{"consume-memory", "the same on the broker in the process", onMemory(consume)},
		{"inbox-batch", "handlers with an inbox and one row of effect, in batches of 100", inboxBatch},
		{"inbox-each", "the same one by one, with 8 workers", inboxEach},
		{"parking", "the inbox with parking, beside one without, while nothing fails", parkingIdle},
		{"redrive", "running 100,000 parked messages of 1,000 keys in their order", redrive},
		{"schedule-promote", "moving a million messages that are due at once, beside a loop by hand", schedulePromote},
		{"schedule-late", "how late a thousand ticks a second of a thousand schedules are", scheduleLate},
		{"saga", "sagas of three steps, beside as many transactions of an inbox by hand", sagaSteps},
		{"saga-open", "the time of a step beside 100,000 open instances, beside 1,000", sagaOpen},
		{"mediator-send", "a command of three strings through the mediator, beside a plain function call", mediatorSend},
		{"mediator-send-3mw", "the same through three middlewares", mediatorSendThrough},
		{"request-memory", "64 callers inside the process", requestMemory},
		{"request-nats", "1 and 64 callers over core NATS, beside the client's own Request", requestNATS},
		{"request-rabbitmq", "1 and 64 callers over direct reply-to, beside a loop by hand", requestRabbitMQ},
		{"mediator-notify", "a notification to three handlers in order, beside three calls", mediatorNotify},
		{"local-queue", "an ordered queue on the database, beside River at its fastest", localQueue},
		{"sqlqueue", "the database as the broker, beside River at its fastest", sqlQueue},
	}
}

// run parses the arguments, runs the cases that they name and prints the table.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	flags.SetOutput(progress)
	name := flags.String("case", "", "run the case of that name, or all whose names begin with it")
	rounds := flags.Int("rounds", 0, "how often each side runs, 1 to 100; the default is 5, with -quick 1")
	quick := flags.Bool("quick", false, "small sizes: shows that every case runs, and says nothing about speed")
	strict := flags.Bool("strict", false, "exit 1 also when a target is missed")
	list := flags.Bool("list", false, "print the names of the cases and end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("argument %.64q: there are none; name a case with -case", flags.Arg(0))
	}
	if *rounds == 0 {
		*rounds = 5
		if *quick {
			*rounds = 1
		}
	}
	if *rounds < 1 || *rounds > 100 {
		return fmt.Errorf("-rounds %d: give 1 to 100", *rounds)
	}
	cases := choose(all(), *name)
	if len(cases) == 0 {
		return fmt.Errorf("-case %.64q: no case has a name that begins so; -list prints them", *name)
	}
	if *list {
		for _, c := range cases {
			fmt.Fprintf(out, "%-18s %s\n", c.name, c.what)
		}
		return nil
	}
	b := &bench{quick: *quick, rounds: *rounds, report: newReport(out), progress: progress}
	err := errors.Join(b.runAll(ctx, cases), b.close())
	b.report.table()
	if err == nil && *strict && b.report.missed > 0 {
		err = fmt.Errorf("%d targets were missed, and -strict was given", b.report.missed)
	}
	return err
}

// choose answers the case called name, else those whose names begin so.
func choose(cases []benchmark, name string) (chosen []benchmark) {
	for _, c := range cases {
		if c.name == name {
			return []benchmark{c}
		}
		if strings.HasPrefix(c.name, name) {
			chosen = append(chosen, c)
		}
	}
	return chosen
}
