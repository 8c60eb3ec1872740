package bustest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// Config is what the suite cannot ask the driver. The zero value is right for a server on the same machine.
type Config struct {
	// Patience is how long a case waits for one step that must happen. Generous: it is only used up by a failure.
	// 0: 10 s.
	Patience time.Duration
	// Quiet is how long a case listens for what must not happen. Each listening costs this much. 0: 100 ms.
	Quiet time.Duration
	// RedeliverWithin is how soon after a death, or a lost lease, deliveries come again. 0: Patience.
	RedeliverWithin time.Duration
	// NotApplicable names cases that the Harness cannot play on this broker, and why. Others that it cannot play fail.
	NotApplicable map[string]string
}

func (c Config) withDefaults() Config {
	if c.Patience <= 0 {
		c.Patience = 10 * time.Second
	}
	if c.Quiet <= 0 {
		c.Quiet = 100 * time.Millisecond
	}
	if c.RedeliverWithin <= 0 {
		c.RedeliverWithin = c.Patience
	}
	return c
}

// Harness plays the broker for one case. Connect and NewTopic are required; without one of the others the cases that
// need it cannot be played.
type Harness struct {
	// Connect opens a transport of its own on the case's broker, as another process would. The suite closes it.
	Connect func(tb testing.TB) bus.Transport
	// NewTopic makes a topic at the broker that no other case uses, with place for messages and without subscribers.
	NewTopic func(tb testing.TB) string
	// Missing answers the name of a topic that is legal and that the broker has no place for.
	Missing func(tb testing.TB) string
	// Cut makes the broker unreachable for every transport, and what was connected loses its connection. Restore ends it.
	Cut, Restore func(tb testing.TB)
	// Kill ends the process that opened t and s, without closing either, as SIGKILL does.
	Kill func(tb testing.TB, t bus.Transport, s bus.Source)
	// Revoke takes the deliveries of s away while it lives: its lease passes, its lanes move.
	Revoke func(tb testing.TB, t bus.Transport, s bus.Source)
	// HoldConfirms lets the broker take messages without confirming them, until release.
	HoldConfirms func(tb testing.TB) (release func())
	// Damage puts bytes that are no envelope into a topic.
	Damage func(tb testing.TB, topic string, body []byte)
	// Refused makes a transport whose credentials the broker refuses. If the driver finds that out already when the
	// transport is made, it cannot be played.
	Refused func(tb testing.TB) bus.Transport
	// Borrowed makes a transport on a connection or client of the user, and reports by alive whether that is usable.
	Borrowed func(tb testing.TB) (t bus.Transport, alive func() error)
}

// Case is one sentence of the contract.
type Case struct {
	// Name, as in "Sender/PrefixInOneBatch".
	Name string
	// Says is the sentence.
	Says string
	// Advice to the driver's author when it does not hold.
	Advice string

	needs []need
	test  func(p *probe)
}

// Cases answers every case, in the order in which Run runs them.
func Cases() []Case {
	return slices.Concat(transportCases(), subscriptionCases(), senderCases(), pendingCases(), sourceCases(),
		settleCases(), stopCases(), orderCases(), deliveryCases())
}

// Run checks a driver. open is called once per case and gives a broker on which nothing of another case is left.
func Run(t *testing.T, cfg Config, open func(tb testing.TB) Harness) {
	t.Helper()
	cases := Cases()
	var left []string
	for name := range cfg.NotApplicable {
		if !slices.ContainsFunc(cases, func(c Case) bool { return c.Name == name }) {
			t.Errorf("bustest: Config.NotApplicable names %q, which is no case; remove it", name)
		}
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			c.run(t, cfg, open, func(why string) { left = append(left, c.Name+": "+why) })
		})
	}
	if len(left) > 0 {
		t.Logf("%d of %d cases are not applicable:\n\t%s", len(left), len(cases), strings.Join(left, "\n\t"))
	}
}

// Check runs one case on its own and fails tb when the sentence does not hold. It skips and fails what cannot be played
// as Run does.
func (c Case) Check(tb testing.TB, cfg Config, open func(tb testing.TB) Harness) {
	tb.Helper()
	c.run(tb, cfg, open, func(string) {})
}

// run tells left why the case is left out, if it is.
func (c Case) run(tb testing.TB, cfg Config, open func(tb testing.TB) Harness, left func(why string)) {
	tb.Helper()
	h := open(tb)
	why, err := c.decide(tb, cfg, h)
	if err != nil {
		tb.Fatal(err)
	}
	if why != "" {
		left(why)
		tb.Skipf("not applicable: %s", why)
	}
	c.test(&probe{TB: tb, c: c, cfg: cfg.withDefaults(), h: h, t: connect(tb, h)})
}

// decide says why a case is left out. It is an error to leave one out that is not excluded by the driver's capabilities
// or named with a reason, and to name one that can be played.
func (c Case) decide(tb testing.TB, cfg Config, h Harness) (why string, err error) {
	tb.Helper()
	why, missing := c.excluded(tb, h)
	reason, named := cfg.NotApplicable[c.Name]
	switch {
	case missing && named:
		return reason, nil
	case missing:
		return "", fmt.Errorf("bustest: this case cannot be played: %s; give it, or name the case in Config.NotApplicable with a reason", why)
	case why == "" && named:
		return "", errors.New("bustest: Config.NotApplicable names this case, but it can be played; remove it there")
	}
	return why, nil
}

// excluded says why the case does not apply; missing, that it is the harness that lacks something.
func (c Case) excluded(tb testing.TB, h Harness) (why string, missing bool) {
	tb.Helper()
	if h.Connect == nil || h.NewTopic == nil {
		tb.Fatal("bustest: the Harness has no Connect or no NewTopic; both are required")
	}
	caps := connect(tb, h).Capabilities()
	for _, n := range c.needs {
		if why, missing = n(caps, h); why != "" {
			return why, missing
		}
	}
	return "", false
}

// A need is what a case asks of the driver or the harness; why is empty when it is there.
type need func(caps bus.Capabilities, h Harness) (why string, missing bool)

func capability(holds func(bus.Capabilities) bool, why string) need {
	return func(caps bus.Capabilities, _ Harness) (string, bool) {
		if holds(caps) {
			return "", false
		}
		return fmt.Sprintf("the driver %q states %s", caps.Name, why), false
	}
}

func part(name string, has func(Harness) bool) need {
	return func(_ bus.Capabilities, h Harness) (string, bool) {
		if has(h) {
			return "", false
		}
		return "the Harness has no " + name, true
	}
}

func needsOrder() need {
	return capability(func(c bus.Capabilities) bool { return c.OrderPerKey }, "OrderPerKey=false")
}

func needsCopies() need {
	return capability(func(c bus.Capabilities) bool { return c.Copies }, "Copies=false")
}

func needsNoCopies() need {
	return capability(func(c bus.Capabilities) bool { return !c.Copies }, "Copies=true")
}

func needsNoOrder() need {
	return capability(func(c bus.Capabilities) bool { return !c.OrderPerKey }, "OrderPerKey=true")
}

func needsPrefix() need {
	return capability(func(c bus.Capabilities) bool { return c.PrefixPerKey }, "PrefixPerKey=false")
}

func needsConfirms() need {
	return capability(func(c bus.Capabilities) bool { return c.Confirms }, "Confirms=false")
}

func needsMaxBody() need {
	return capability(func(c bus.Capabilities) bool { return c.MaxBody > 0 && c.MaxBody <= 64<<20 }, "no MaxBody up to 64 MiB")
}

func needsDedup() need {
	return capability(func(c bus.Capabilities) bool { return c.DedupWindow > 0 }, "DedupWindow=0")
}

func needsNoDedup() need {
	return capability(func(c bus.Capabilities) bool { return c.DedupWindow == 0 }, "a DedupWindow")
}

func needsMissing() need { return part("Missing", func(h Harness) bool { return h.Missing != nil }) }

func needsCut() need {
	return part("Cut and Restore", func(h Harness) bool { return h.Cut != nil && h.Restore != nil })
}

func needsKill() need   { return part("Kill", func(h Harness) bool { return h.Kill != nil }) }
func needsRevoke() need { return part("Revoke", func(h Harness) bool { return h.Revoke != nil }) }
func needsHold() need {
	return part("HoldConfirms", func(h Harness) bool { return h.HoldConfirms != nil })
}
func needsDamage() need   { return part("Damage", func(h Harness) bool { return h.Damage != nil }) }
func needsRefused() need  { return part("Refused", func(h Harness) bool { return h.Refused != nil }) }
func needsBorrowed() need { return part("Borrowed", func(h Harness) bool { return h.Borrowed != nil }) }
