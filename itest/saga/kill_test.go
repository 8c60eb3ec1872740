package saga

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Conversations whose process is killed again and again (SIGKILL), before and behind its commits and at any moment, come to one end
// each; what they sent was handled once, what was undone was undone in reverse, and no money is gone.
// guarantees: S1, S2, S3, S4, S5, I1, I7, K2
func TestKilled(t *testing.T) {
	databases(t, func(w *world) {
		w.Parallel() // it waits for leases most of the time
		if testing.Short() && w.driver == "mysql" {
			w.Skip("-short: the other two show it")
		}
		seed := uint64(time.Now().UnixNano())
		random := rand.New(rand.NewPCG(seed, 9))
		w.Logf("seed %d", seed)
		w.fund()
		lives := w.lives(random)
		conversations, begun := 0, time.Now()
		for _, l := range lives {
			// Each life begins conversations of its own, beside those that the last one left behind.
			w.converse(conversations, perLife)
			conversations += perLife
			p := w.process(l)
			if l.At > 0 {
				err := p.hear("at")
				p.kill()
				must(w.T, err)
				continue
			}
			// The moment of the death, not a wait for something.
			<-time.After(time.Duration(random.Int64N(int64(400 * time.Millisecond))))
			p.kill()
		}
		p := w.process(life{Driver: w.driver, DSN: w.dsn})
		defer p.kill()
		w.untilEnded(2 * conversations)
		_ = p.stdin.Close()
		must(w.T, p.cmd.Wait())
		ends := w.judge(conversations)
		w.Logf("%d deaths, %d conversations: %v; %v", len(lives), 2*conversations, ends, time.Since(begun).Round(time.Millisecond))
		for _, s := range []saga.Status{saga.Completed, saga.Compensated, saga.Failed} {
			if ends[s] == 0 {
				w.Errorf("none has %v: that shows nothing", s)
			}
		}
	})
}

// perLife is how many conversations of each kind begin with each life.
const perLife = 3

// lives end at every commit boundary of the first that handlers and a scheduler come to, and at random.
func (w *world) lives(random *rand.Rand) (all []life) {
	boundaries, promotions, moments := int64(6), int64(1), 6
	if testing.Short() || w.driver != "pgx" { // processes are slow to start, most of all with the race detector
		boundaries, moments = 2, 2
	}
	for _, behind := range []bool{false, true} {
		for n := range boundaries {
			all = append(all, life{At: n + 1, Behind: behind})
		}
		for n := range promotions {
			all = append(all, life{At: n + 1, Scheduler: true, Behind: behind})
		}
	}
	all = append(all, make([]life, moments)...)
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for i := range all {
		all[i].Driver, all[i].DSN = w.driver, w.dsn
	}
	return all
}

// fund makes the tables of the participants.
func (w *world) fund() {
	w.Helper()
	number := map[string]string{"pgx": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "mysql": "bigint AUTO_INCREMENT PRIMARY KEY", "sqlite": "INTEGER PRIMARY KEY AUTOINCREMENT"}[w.driver]
	for _, q := range []string{
		"CREATE TABLE account (name varchar(50) PRIMARY KEY, cents bigint NOT NULL)",
		"CREATE TABLE handled (n " + number + ", conversation varchar(50) NOT NULL, what varchar(50) NOT NULL, message varchar(50) NOT NULL)", // nothing is unique
		"CREATE INDEX handled_conversation ON handled (conversation)",
		"INSERT INTO account (name, cents) VALUES ('shop', 0)",
	} {
		_, err := w.raw.ExecContext(w.Context(), q)
		must(w.T, err)
	}
	for n := range customers {
		_, err := w.raw.ExecContext(w.Context(), fmt.Sprintf("INSERT INTO account (name, cents) VALUES ('%s', %d)", account(n), funds))
		must(w.T, err)
	}
}

// converse begins n conversations of each kind.
func (w *world) converse(from, n int) {
	w.Helper()
	t, err := newTown(w.driver, w.st, sqltx.StdDB(w.raw))
	must(w.T, err)
	must(w.T, outbox.Do(w.Context(), t.out, sqltx.StdDB(w.raw), func(_ context.Context, _ *sql.Tx, u *outbox.Unit) error {
		for i := range n {
			u.Publish(transfer{from + i})
			u.Publish(order{from + i})
		}
		return nil
	}))
}

// untilEnded waits until so many conversations have ended.
func (w *world) untilEnded(n int) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		counts, err := w.st.Sagas().Records().Counts(w.Context(), "")
		must(w.T, err)
		ended, other := int64(0), int64(0)
		for _, c := range counts {
			if c.Status.Ended() {
				ended += c.N
			} else {
				other += c.N
			}
		}
		if ended == int64(n) && other == 0 {
			st, err := w.st.Outbox().Keeper().Stats(w.Context(), outbox.ToLocal) // the last step of an order is sent with its end
			must(w.T, err)
			if st.Pending == 0 {
				return
			}
		}
		select {
		case <-ctx.Done():
			w.Fatalf("of %d conversations %d have ended after five minutes, %d others go on: %+v", n, ended, other, counts)
		case <-tick.C:
		}
	}
}

// judge looks at what became of n conversations of each kind, and answers how many ended in which way.
func (w *world) judge(n int) map[saga.Status]int {
	w.Helper()
	lines, messages := w.handled()
	want := map[string]int{}
	for i := range customers {
		want[account(i)] = funds
	}
	ends := map[saga.Status]int{}
	for i := range n {
		in := w.ended("transfer", transferKey(i), messages)
		ends[in.Status]++
		got := strings.Join(lines[in.Key], ", ")
		switch {
		case debitSilent(i):
			w.is(in, got, saga.Failed, "debit, refund")
		case creditRefused(i):
			w.is(in, got, saga.Failed, "debit, credit, refund")
		default:
			w.is(in, got, saga.Completed, "debit, credit")
			want[account(i)] -= price
			want[account(i+1)] += price
		}
		in = w.ended("order", orderKey(i), messages)
		ends[in.Status]++
		if w.inReverse(i, in, lines[in.Key]); in.Status == saga.Completed {
			want[account(i)] -= price
			want["shop"] += price
		}
	}
	if len(messages) > 0 {
		w.Errorf("%d messages were handled that nobody has sent: %v", len(messages), messages)
	}
	rows, err := w.raw.QueryContext(w.Context(), "SELECT name, cents FROM account")
	must(w.T, err)
	defer rows.Close()
	for rows.Next() {
		var name string
		var cents int
		must(w.T, rows.Scan(&name, &cents))
		if cents != want[name] {
			w.Errorf("%s has %d, and not %d", name, cents, want[name])
		}
	}
	must(w.T, rows.Err())
	return ends
}

func (w *world) is(in *saga.Instance, got string, status saga.Status, want string) {
	w.Helper()
	if in.Status != status || got != want {
		w.Errorf("%s is %v and had %q handled; want %v and %q", in.Key, in.Status, got, status, want)
	}
}

// handled answers the lines of each conversation, and how often each message was handled.
func (w *world) handled() (lines map[string][]string, messages map[string]int) {
	w.Helper()
	lines, messages = map[string][]string{}, map[string]int{}
	rows, err := w.raw.QueryContext(w.Context(), "SELECT conversation, what, message FROM handled ORDER BY n")
	must(w.T, err)
	defer rows.Close()
	for rows.Next() {
		var key, what, message string
		must(w.T, rows.Scan(&key, &what, &message))
		lines[key] = append(lines[key], what)
		messages[message]++
	}
	must(w.T, rows.Err())
	return lines, messages
}

// ended answers the instance of a key, which has to be the only one. What its journal says was sent was handled once, and each of its
// messages has one entry, the last of which ended it. Messages are taken out of those that were handled.
func (w *world) ended(name, key string, messages map[string]int) *saga.Instance {
	w.Helper()
	all, err := w.st.Sagas().Records().List(w.Context(), saga.Filter{Saga: name, Key: key, Full: true}, saga.Page{Limit: 10})
	must(w.T, err)
	if len(all) != 1 {
		w.Fatalf("%s has %d instances", key, len(all))
	}
	in := &all[0]
	entries, err := w.st.Sagas().Records().History(w.Context(), in.ID, 0, 1000)
	must(w.T, err)
	seen, changes := map[string]bool{}, int64(0)
	for i, e := range entries {
		if e.Kind != saga.Stepped {
			continue
		}
		if changes++; seen[e.Message] {
			w.Errorf("%s was changed twice by message %s (%s)", key, e.Message, e.Step)
		}
		seen[e.Message] = true
		if ends := e.Detail.To != "" && e.Detail.To == in.Status.String(); ends != (i == len(entries)-1) {
			w.Errorf("%s ended as %v; entry %d of %d: %+v", key, in.Status, i, len(entries), e)
		}
		for _, fx := range e.Detail.Effects {
			if fx.Kind != "send" {
				continue
			}
			if messages[fx.ID] != 1 {
				w.Errorf("%s sent %s once, and it was handled %d times", key, fx.Type, messages[fx.ID])
			}
			delete(messages, fx.ID)
		}
	}
	if changes != in.Version || !in.Status.Final() || len(in.Timers) > 0 {
		w.Errorf("%s is %v of version %d, waits for %d timers, and its journal has %d entries", key, in.Status, in.Version, len(in.Timers), changes)
	}
	return in
}

// inReverse checks what an order had handled: all steps, or some of them, and then all of those taken back in reverse.
func (w *world) inReverse(n int, in *saga.Instance, lines []string) {
	w.Helper()
	bad := func(format string, args ...any) {
		w.Helper()
		w.Errorf("%s is %v, had %q handled, and state %s: %s", in.Key, in.Status, lines, in.State, fmt.Sprintf(format, args...))
	}
	var did, undid []string
	for _, l := range lines {
		if step, ok := strings.CutPrefix(l, "undo "); !ok {
			did = append(did, strings.TrimPrefix(l, "do "))
		} else if !slices.Contains(undid, step) { // an attempt that nobody heard of is made again
			undid = append(undid, step)
		}
	}
	steps := orderSteps()
	if in.Status == saga.Completed {
		if slices.Sort(did); !slices.Equal(did, slices.Sorted(slices.Values(steps))) || len(undid) > 0 {
			bad("it has not done each step once")
		}
		return
	}
	var state orderState
	must(w.T, json.Unmarshal(in.State, &state))
	// What was done is undone in reverse of the order in which that was heard; before that, whatever nobody has heard of.
	var want []string
	for _, step := range did {
		if !slices.Contains(state.Done, step) && (stepDenied(n) != step || strings.Contains(in.Reason, "did not answer")) { // the no came too late
			want = append(want, step)
		}
	}
	slices.Reverse(want)
	done := slices.Clone(state.Done)
	slices.Reverse(done)
	if want = append(want, done...); in.Status != saga.Compensated || !slices.Equal(undid, want) {
		bad("it should have been undone as %q", want)
	}
	if again := slices.Compact(slices.Sorted(slices.Values(did))); len(again) != len(did) {
		bad("a step was done twice")
	}
}
