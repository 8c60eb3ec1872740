package sqstest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/bustest"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/sqs"
)

// lostForGood cannot be played on requests: between two Sends there is no connection that could be lost. TestALostRequestEndsTheSender
// has what can.
const lostForGood = "Sender/LostForGood"

// Cases that an emulator is not like SQS for.
var unlike = map[servers.Emulator]map[string]string{
	servers.Fauxqs: {
		"Order/ReleasedBeforeLater": "fauxqs gives out one message of a group at a time, SQS up to ten, and the case takes six",
		"Order/DeathKeepsOrder":     "fauxqs gives out one message of a group at a time, and the case takes three",
		"Order/TwoDeathsKeepOrder":  "fauxqs gives out one message of a group at a time, and the case takes three",
		"Stop/KeepsOrder":           "fauxqs gives out one message of a group at a time, and the case takes three",
		"Stop/SettledStaysSettled":  "fauxqs gives out one message of a group at a time, and the case takes two",
	},
	// TestDeathsKeepOrder has those with one message of a key at a time.
	servers.Moto: {
		"Order/DeathKeepsOrder":    "moto gives out a group whose visibility has passed with its last message first",
		"Order/TwoDeathsKeepOrder": "moto gives out a group whose visibility has passed with its last message first",
	},
}

// onMoto are the cases that run there.
var onMoto = []string{"Order", "Settle", "Dedup", "Stop"}

// guarantees: R1, R2, R4, R5, R6, R7, K2, O5
func TestConformance(t *testing.T) {
	for _, kind := range []servers.Emulator{servers.Fauxqs, servers.Moto} {
		for _, variant := range []struct {
			name string
			o    sqs.Options
		}{{"FIFO", sqs.Options{}}, {"standard", sqs.Options{Standard: true}}} {
			t.Run(string(kind)+"/"+variant.name, func(t *testing.T) {
				if testing.Short() && variant.o.Standard != (kind == servers.Moto) {
					t.Skip("one variant on each emulator is enough for a short run")
				}
				f := newFixture(t, kind)
				cfg := bustest.Config{Quiet: 300 * time.Millisecond, Patience: 60 * time.Second, NotApplicable: map[string]string{
					"Receive/Damaged": "the case has a NUL, which SQS refuses; TestDamaged has what it takes"}}
				for _, c := range bustest.Cases() {
					t.Run(c.Name, func(t *testing.T) {
						if why := unlike[kind][c.Name]; why != "" && !variant.o.Standard {
							t.Skip(why)
						}
						if what, _, _ := strings.Cut(c.Name, "/"); kind == servers.Moto && !slices.Contains(onMoto, what) {
							t.Skip("moto is slow: what it adds to fauxqs is the order of several messages of a key, and a second opinion about settling")
						}
						if c.Name == "Wait/BigBatch" && !variant.o.Standard {
							t.Skip("the run with standard queues has it")
						}
						if c.Name == lostForGood {
							t.Skip("between two requests there is no connection that could be lost")
						}
						o := variant.o
						if c.Name == "InFlight/Default" {
							o.Visibility = 30 * time.Second // taking a thousand takes a while on a busy machine
						}
						for _, waits := range []string{"Death", "Revoked", "Extend", "NeverRepeats"} { // for visibilities that pass
							if strings.Contains(c.Name, waits) {
								o.Visibility = 4 * time.Second
							}
						}
						t.Parallel() // they wait more than they work
						c.Check(t, cfg, func(tb testing.TB) bustest.Harness { return f.harness(tb, o) })
					})
				}
			})
		}
	}
}

// harness gives each transport a proxy of its own, so that it can die alone.
func (f *fixture) harness(tb testing.TB, o sqs.Options) bustest.Harness {
	var mu sync.Mutex
	proxies := map[bus.Transport]*proxy{}
	all := func(do func(*proxy)) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range proxies {
			do(p)
		}
	}
	know := func(t bus.Transport, p *proxy) bus.Transport {
		mu.Lock()
		defer mu.Unlock()
		proxies[t] = p
		return t
	}
	return bustest.Harness{
		Connect: func(tb testing.TB) bus.Transport {
			p := newProxy(tb, f.url)
			t := connect(tb, fast(p.url(), o))
			return know(t, p)
		},
		NewTopic: func(tb testing.TB) string {
			name := topic()
			declarer := o
			declarer.Groups = []bus.Subscription{{Topics: []string{name}, Group: "place"}} // so that there is one for messages
			hand.Open(tb, connect(tb, fast(f.url, declarer))).Close(tb.Context())
			return name
		},
		Missing: func(testing.TB) string { return "missing" },
		Cut:     func(testing.TB) { all((*proxy).cut) },
		Restore: func(testing.TB) { all((*proxy).restore) },
		Kill: func(_ testing.TB, t bus.Transport, _ bus.Source) {
			mu.Lock()
			defer mu.Unlock()
			proxies[t].cut()
			delete(proxies, t) // nobody restores it
		},
		Revoke: func(testing.TB, bus.Transport, bus.Source) {}, // its visibility passes by itself
		HoldConfirms: func(testing.TB) func() {
			var releases []func()
			all(func(p *proxy) { releases = append(releases, p.holdSends()) })
			return func() {
				for _, release := range releases {
					release()
				}
			}
		},
		Refused: func(tb testing.TB) bus.Transport {
			p := newProxy(tb, f.url)
			p.setFault(func(string, []byte) *answer { return refusedToken() })
			t, err := sqs.New(tb.Context(), fast(p.url(), o))
			if err != nil {
				tb.Fatal(err)
			}
			return t
		},
		Borrowed: func(tb testing.TB) (bus.Transport, func() error) {
			p := newProxy(tb, f.url)
			q, n := clients(tb, p.url())
			t, err := sqs.NewClients(q, n, fast("", o))
			if err != nil {
				tb.Fatal(err)
			}
			tb.Cleanup(func() { t.Close(context.Background()) })
			return know(t, p), func() error {
				_, err := q.ListQueues(context.Background(), &awssqs.ListQueuesInput{MaxResults: aws.Int32(1)})
				return err
			}
		},
	}
}

// refusedToken is SQS's answer to credentials that it does not know.
func refusedToken() *answer {
	return &answer{status: 403, header: map[string]string{"Content-Type": "application/x-amz-json-1.0"},
		body: `{"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"The security token included in the request is invalid"}`}
}
