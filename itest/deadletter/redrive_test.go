package deadletter

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sixfold-go/sixfold/deadletter"
)

// Ten dead letters of a key and five that wait become one line in the order of their numbers, due now. guarantees: I3, K2
func TestAWholeKeyIsRedrivenInOrder(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		var want []string
		for i := range 15 {
			id := fmt.Sprintf("m-%02d", i)
			want = append(want, id)
			w.put(letter{dead: i < 10, loose: true, key: "k", id: id, reason: map[bool]string{true: "attempts"}[i < 10]})
			w.put(letter{dead: true, loose: true, key: fmt.Sprint("other", i), consumer: "else"})
		}
		report := w.redrive(10, deadletter.Filter{Consumer: "billing"}, deadletter.Options{Batch: 3, Reason: "fixed"})
		w.want("order", strings.Join(want, " "), "SELECT p.id FROM {{parked}} p JOIN {{line}} l ON l.id = p.line WHERE l.key = 'k' AND p.state = 1 ORDER BY p.n")
		w.want("line", "15", "SELECT size FROM {{line}} WHERE key = 'k' AND due <= {{soon}} AND token IS NULL")
		w.want("inbox", "15", "SELECT count(*) FROM {{inbox}} WHERE consumer = 'billing' AND state = 2")
		w.want("epochs", "10 5", "SELECT count(*) FROM {{parked}} WHERE consumer = 'billing' GROUP BY epoch ORDER BY epoch DESC")
		w.want("attempts", "10", "SELECT count(*) FROM {{parked}} WHERE consumer = 'billing' AND epoch = 1 AND attempts = 0 AND reason = ''")
		w.want("what is known of attempts", "30", "SELECT count(*) FROM {{attempt}}")
		w.want("others", "15", "SELECT count(*) FROM {{parked}} WHERE consumer = 'else' AND state = 2")
		w.want("audit", "10", "SELECT count(*) FROM {{audit}} WHERE run = ?1 AND action = 'redrive' AND who = 'ann' AND reason = 'fixed' AND before IS NOT NULL AND after IS NOT NULL", report.Run)
		w.redrive(0, deadletter.Filter{Consumer: "billing"}, deadletter.Options{})
		w.want("epochs after another redrive", "0 1", "SELECT DISTINCT epoch FROM {{parked}} WHERE consumer = 'billing' ORDER BY epoch")
	})
}

// The messages of a key go in one transaction, whatever the batch: else one of them that waits would come in between.
func TestTheMessagesOfAKeyAreSentAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for range 10 {
			w.put(letter{dead: true, loose: true, key: "k"})
			w.put(letter{dead: true, loose: true})
		}
		w.put(letter{key: "k"})
		first := true
		w.redrive(20, deadletter.Filter{}, deadletter.Options{Batch: 2, Progress: func(deadletter.Report) {
			if first {
				w.want("after the first step", "11", "SELECT size FROM {{line}} WHERE key = 'k'")
			}
			first = false
		}})
		w.want("lines", "11", "SELECT count(*) FROM {{line}}")
	})
}

// A dead letter that blocks its key goes on where it is, and what is behind it stays behind it.
func TestABlockedKeyGoesOn(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		head := w.put(letter{dead: true, key: "k", reason: "permanent"})
		for range 3 {
			w.put(letter{key: "k"})
		}
		list, err := w.letters.List(t.Context(), deadletter.Filter{}, deadletter.Page{})
		must(t, err)
		if len(list) != 1 || !list[0].Line.Blocked || list[0].Line.Size != 4 || list[0].Line.Head != head || list[0].Reason != "permanent" {
			t.Errorf("listed: %+v", list)
		}
		dry, err := w.letters.Redrive(t.Context(), deadletter.Filter{}, deadletter.Options{DryRun: true})
		must(t, err)
		if s := dry.Summary; s == nil || s.Total != 1 || s.Behind != 3 || len(s.Groups) != 1 || s.Groups[0].Reason != "permanent" || len(s.Keys) != 1 {
			t.Errorf("a dry run: %+v", dry)
		}
		w.want("after a dry run", "4", "SELECT size FROM {{line}} WHERE due = {{never}}")
		w.redrive(1, deadletter.Filter{Numbers: []int64{head}}, deadletter.Options{})
		w.want("line", "4", "SELECT size FROM {{line}} WHERE due <= {{soon}}")
		w.want("first", fmt.Sprint(head), "SELECT min(n) FROM {{parked}} WHERE state = 1")
	})
}

// A message that is no dead letter any more is named, and left as it is.
func TestRedriveOfARedrivenOne(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		n := w.put(letter{dead: true, loose: true})
		waits := w.put(letter{key: "k"})
		w.redrive(1, deadletter.Filter{Numbers: []int64{n}}, deadletter.Options{})
		report := w.redrive(0, deadletter.Filter{Numbers: []int64{n, waits, 999}}, deadletter.Options{})
		if report.SkippedCount != 3 || !strings.Contains(report.Skipped[0].Why, "no dead letter") || !strings.Contains(report.Skipped[2].Why, "not parked") {
			t.Errorf("skipped: %+v", report.Skipped)
		}
		w.want("epochs", "0 1", "SELECT epoch FROM {{parked}} ORDER BY epoch")
	})
}

// What the inbox knows as handled takes effect no second time. guarantees: I1
func TestWhatWasHandledIsNotRedriven(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.put(letter{dead: true, loose: true, handled: true})
		report := w.redrive(0, deadletter.Filter{}, deadletter.Options{})
		if report.SkippedCount != 1 || !strings.Contains(report.Skipped[0].Why, "handled") {
			t.Errorf("skipped: %+v", report)
		}
	})
}

// A relay's dead letters go to the outbox again, in order, with the same id and a higher epoch. [RedriveNotSwallowed]
func TestARelaysDeadLettersGoToTheOutbox(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		var ids []string
		for i := range 120 {
			l := letter{dead: true, loose: true, relay: true, consumer: "main", key: fmt.Sprint(i % 3), id: fmt.Sprintf("0190a000-0000-7000-8000-%012d", i)}
			w.put(l)
			ids = append(ids, l.id)
		}
		id := "id"
		if w.pg {
			id = "id::text"
		}
		w.redrive(120, deadletter.Filter{Origin: deadletter.FromRelay}, deadletter.Options{})
		w.want("order", strings.Join(ids, " "), "SELECT "+id+" FROM {{outbox}} WHERE class = 'main' AND topic = 'orders' AND key IS NOT NULL ORDER BY seq")
		w.want("parked", "0", "SELECT count(*) FROM {{parked}}")
		attrs := w.ask("SELECT attrs FROM {{outbox}} ORDER BY seq LIMIT 1")[0]
		if !strings.Contains(attrs, `"epoch":1`) || !strings.Contains(attrs, "tenant") {
			t.Errorf("attributes: %s", attrs)
		}
		// It dies again, with the attributes that it had.
		n := w.put(letter{dead: true, loose: true, relay: true, consumer: "main", id: ids[0]})
		w.exec("UPDATE {{parked}} SET attrs = (SELECT attrs FROM {{outbox}} ORDER BY seq LIMIT 1) WHERE n = ?1", n)
		w.redrive(1, deadletter.Filter{}, deadletter.Options{})
		if attrs := w.ask("SELECT attrs FROM {{outbox}} ORDER BY seq DESC LIMIT 1")[0]; !strings.Contains(attrs, `"epoch":2`) {
			t.Errorf("attributes of the second time: %s", attrs)
		}
	})
}

// Several who redrive at once send each message again once.
func TestSeveralRedriveAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for i := range 100 {
			w.put(letter{dead: true, loose: true, key: fmt.Sprint("k", i%7)})
		}
		var all sync.WaitGroup
		done := make([]int, 4)
		for i := range done {
			all.Go(func() {
				report, err := w.letters.Redrive(t.Context(), deadletter.Filter{}, deadletter.Options{Who: fmt.Sprint("nr ", i), Batch: 5})
				if err != nil {
					t.Error(err)
				}
				done[i] = report.Done
			})
		}
		all.Wait()
		if done[0]+done[1]+done[2]+done[3] != 100 {
			t.Errorf("done: %v", done)
		}
		w.want("epochs", "1", "SELECT DISTINCT epoch FROM {{parked}}")
		w.want("sizes", "100", "SELECT sum(size) FROM {{line}}")
		w.want("audit", "100", "SELECT count(*) FROM {{audit}} WHERE action = 'redrive'")
	})
}

func TestTheCanaryStopsTheOthers(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		first := w.put(letter{dead: true, loose: true})
		for range 5 {
			w.put(letter{dead: true, loose: true})
		}
		dies := func(r deadletter.Report) { w.exec("UPDATE {{parked}} SET state = 2 WHERE n = ?1", r.Canary.N) }
		report, err := w.letters.Redrive(t.Context(), deadletter.Filter{}, deadletter.Options{Who: "ann", Canary: true, Progress: dies})
		if !errors.Is(err, deadletter.ErrCanary) || report.CanaryFate != deadletter.DeadAgain || report.Canary.N != first || report.Done != 1 {
			t.Fatalf("a canary that dies: %+v, %v", report, err)
		}
		w.want("those that were sent", fmt.Sprint(first), "SELECT n FROM {{parked}} WHERE epoch > 0")
		// With the same run it goes on with the same canary: it is not sent a second time, and is handled by now.
		w.exec("DELETE FROM {{parked}} WHERE n = ?1", first)
		again, err := w.letters.Redrive(t.Context(), deadletter.Filter{}, deadletter.Options{Who: "ann", Run: report.Run})
		if err != nil || again.Done != 5 || again.CanaryFate != deadletter.Handled || !again.Resumed {
			t.Errorf("a canary that is handled: %+v, %v", again, err)
		}
	})
}

func TestARelaysCanary(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for range 3 {
			w.put(letter{dead: true, loose: true, relay: true})
		}
		sent := func(r deadletter.Report) {
			if r.Done == 1 {
				w.want("outbox", "1", "SELECT count(*) FROM {{outbox}} WHERE seq = ?1", r.Canary.Seq)
				w.exec("DELETE FROM {{outbox}}")
			}
		}
		report := w.redrive(3, deadletter.Filter{}, deadletter.Options{Canary: true, Progress: sent})
		if report.CanaryFate != deadletter.Handled {
			t.Errorf("%+v", report)
		}
		w.want("outbox", "2", "SELECT count(*) FROM {{outbox}}")
	})
}
