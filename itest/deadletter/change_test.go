package deadletter

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/deadletter"
)

func TestDiscardLetsTheKeyGoOn(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		head := w.put(letter{dead: true, key: "k", id: "bad", body: "poison"})
		w.put(letter{key: "k"})
		w.put(letter{key: "k"})
		last := w.put(letter{dead: true, key: "l"})
		o := deadletter.Options{Who: "ann", Reason: "it is wrong"}
		report, err := w.letters.Discard(t.Context(), deadletter.Filter{Numbers: []int64{head, last}}, o)
		must(t, err)
		if report.Done != 2 {
			t.Errorf("%+v", report)
		}
		w.want("lines", "2", "SELECT size FROM {{line}} WHERE due <= {{soon}}")
		w.want("all lines", "1", "SELECT count(*) FROM {{line}}")
		w.want("inbox", "2", "SELECT count(*) FROM {{inbox}} WHERE state = 3") // so that a late copy is not handled
		w.want("attempts", "2", "SELECT count(*) FROM {{attempt}}")
		changes, err := w.letters.Audit(t.Context(), deadletter.Trail{Message: "bad"})
		must(t, err)
		if len(changes) != 1 || changes[0].Who != "ann" || changes[0].Reason != "it is wrong" || changes[0].Action != "discard" || changes[0].N != head ||
			!strings.Contains(string(changes[0].Before), "poison") || !strings.Contains(string(changes[0].Before), "tenant") || changes[0].After != nil {
			t.Errorf("audit: %+v", changes)
		}
		if fate, err := w.st.DeadLetters().Fate(t.Context(), deadletter.Moved{N: head, ID: "bad"}); err != nil || fate != deadletter.Discarded {
			t.Errorf("fate: %v, %v", fate, err)
		}
	})
}

// The next one of the line is dead as well: the key stays closed.
func TestDiscardBeforeAnotherDeadOne(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		first := w.put(letter{dead: true, key: "k"})
		w.put(letter{dead: true, key: "k"})
		w.put(letter{key: "k"})
		_, err := w.letters.Discard(t.Context(), deadletter.Filter{Numbers: []int64{first}}, deadletter.Options{Who: "ann"})
		must(t, err)
		w.want("line", "2", "SELECT size FROM {{line}} WHERE due = {{never}}")
	})
}

func (w *world) claim(n int64) {
	w.t.Helper()
	later := "1" + strings.Repeat("0", 17)
	if w.pg {
		later = "now() + interval '1 hour'"
	}
	w.exec("UPDATE {{line}} SET token = '0190a000-0000-7000-8000-000000000000', due = "+later+" WHERE id = (SELECT line FROM {{parked}} WHERE n = ?1)", n)
}

// What a consumer has in hand is left alone.
func TestWhatIsClaimedIsLeftAlone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		n := w.put(letter{key: "k"})
		w.claim(n)
		if err := w.letters.Edit(t.Context(), n, deadletter.Edit{Who: "ann", SetBody: true}); !errors.Is(err, deadletter.ErrClaimed) {
			t.Errorf("edit: %v", err)
		}
		f := deadletter.Filter{State: deadletter.Waiting}
		for name, do := range map[string]func() (deadletter.Report, error){
			"discard": func() (deadletter.Report, error) {
				return w.letters.Discard(t.Context(), f, deadletter.Options{Who: "ann"})
			},
			"release": func() (deadletter.Report, error) {
				return w.letters.Release(t.Context(), f, deadletter.Options{Who: "ann"})
			},
		} {
			if report, err := do(); err != nil || report.Done != 0 || report.SkippedCount != 1 || !strings.Contains(report.Skipped[0].Why, "in hand") {
				t.Errorf("%s: %+v, %v", name, report, err)
			}
		}
		if list, err := w.letters.List(t.Context(), f, deadletter.Page{}); err != nil || len(list) != 1 || !list[0].Line.Claimed || list[0].Line.Due < time.Minute {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

func TestEditKeepsBothVersions(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		n := w.put(letter{dead: true, key: "k", id: "m", body: "old body"})
		digest := w.ask("SELECT digest FROM {{parked}}")
		must(t, w.letters.Edit(t.Context(), n, deadletter.Edit{Who: "ann", Reason: "typo", Body: []byte("new body"), SetBody: true, Headers: map[string]string{"fixed": "yes"}}))
		d, err := w.letters.Show(t.Context(), n)
		must(t, err)
		if string(d.Body) != "new body" || !strings.Contains(string(d.Attrs), `"fixed":"yes"`) || strings.Contains(string(d.Attrs), "tenant") || !strings.Contains(string(d.Attrs), "orders.placed") {
			t.Errorf("after the edit: %s, %s", d.Body, d.Attrs)
		}
		if len(d.Changes) != 1 || !strings.Contains(string(d.Changes[0].Before), "old body") || !strings.Contains(string(d.Changes[0].Before), "tenant") ||
			!strings.Contains(string(d.Changes[0].After), "new body") || d.Changes[0].Reason != "typo" {
			t.Errorf("audit: %+v", d.Changes)
		}
		if len(d.Tries) != 1 || d.Tries[0].Error != "it failed" || d.Tries[0].Node != "host/1" {
			t.Errorf("attempts: %+v", d.Tries)
		}
		w.want("digest", digest[0], "SELECT digest FROM {{parked}}")
		// Nil and empty bodies are told apart.
		for _, body := range [][]byte{nil, {}} {
			must(t, w.letters.Edit(t.Context(), n, deadletter.Edit{Who: "ann", Body: body, SetBody: true}))
			if d, err := w.letters.Show(t.Context(), n); err != nil || (d.Body == nil) != (body == nil) || d.BodySize != len(body)-map[bool]int{true: 1}[body == nil] {
				t.Errorf("body %#v became %#v, %d, %v", body, d.Body, d.BodySize, err)
			}
		}
		if err := w.letters.Edit(t.Context(), 999, deadletter.Edit{Who: "ann", SetBody: true}); !errors.Is(err, deadletter.ErrNotFound) {
			t.Errorf("no such message: %v", err)
		}
	})
}

// A message that could not be read becomes one that can.
func TestEditOfADamagedMessage(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		n := w.put(letter{dead: true})
		w.exec("UPDATE {{parked}} SET damaged = 'no JSON', type = '', attrs = ?1", []byte{})
		if err := w.letters.Edit(t.Context(), n, deadletter.Edit{Who: "ann", Body: []byte("{}"), SetBody: true}); err == nil || !strings.Contains(err.Error(), "give a body, its type") {
			t.Errorf("without a type: %v", err)
		}
		must(t, w.letters.Edit(t.Context(), n, deadletter.Edit{Who: "ann", Body: []byte("{}"), SetBody: true, Type: "orders.placed", ContentType: "application/json"}))
		if d, err := w.letters.Show(t.Context(), n); err != nil || d.Damaged != "" || d.Type != "orders.placed" {
			t.Errorf("%+v, %v", d, err)
		}
	})
}

func TestRelease(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		first := w.put(letter{key: "k"})
		w.put(letter{key: "k"})
		blocked := w.put(letter{dead: true, key: "b"})
		w.put(letter{key: "b"})
		later := "1" + strings.Repeat("0", 17)
		if w.pg {
			later = "now() + interval '1 hour'"
		}
		w.exec("UPDATE {{line}} SET due = " + later + " WHERE key = 'k'")
		report, err := w.letters.Release(t.Context(), deadletter.Filter{}, deadletter.Options{Who: "ann"})
		must(t, err)
		if report.Done != 2 || report.SkippedCount != 1 || !strings.Contains(report.Skipped[0].Why, "is dead") {
			t.Errorf("%+v", report)
		}
		list, err := w.letters.List(t.Context(), deadletter.Filter{State: deadletter.All, Numbers: []int64{first, blocked}}, deadletter.Page{})
		must(t, err)
		if list[0].Line.Due > 0 || !list[1].Line.Blocked {
			t.Errorf("%+v", list)
		}
	})
}

func TestFiltersAndPages(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for i := range 60 {
			w.put(letter{dead: i%3 != 0, loose: true, key: fmt.Sprint("k", i%4), consumer: fmt.Sprint("c", i%2), kind: fmt.Sprint("t", i%5), reason: fmt.Sprint("r", i%3), err: fmt.Sprintf("100%% of %d failed", i), id: fmt.Sprint("id", i), relay: i == 59})
		}
		for name, c := range map[string]struct {
			f    deadletter.Filter
			want int
		}{
			"dead": {deadletter.Filter{}, 40}, "waiting": {deadletter.Filter{State: deadletter.Waiting}, 20}, "all": {deadletter.Filter{State: deadletter.All}, 60},
			"consumer": {deadletter.Filter{Consumer: "c1"}, 20}, "type": {deadletter.Filter{Type: "t3"}, 8}, "reason": {deadletter.Filter{Reason: "r2"}, 20}, "key": {deadletter.Filter{Key: "k1"}, 10},
			"id": {deadletter.Filter{ID: "id7"}, 1}, "error": {deadletter.Filter{Error: "100% of 4"}, 8}, "topic": {deadletter.Filter{Topic: "orders"}, 40}, "other topic": {deadletter.Filter{Topic: "o"}, 0},
			"relay": {deadletter.Filter{Origin: deadletter.FromRelay}, 1}, "consumers": {deadletter.Filter{Origin: deadletter.FromConsumers}, 39},
			"older": {deadletter.Filter{Older: time.Hour}, map[bool]int{false: 40}[w.pg]}, "younger": {deadletter.Filter{Younger: time.Hour}, map[bool]int{true: 40}[w.pg]},
			"numbers": {deadletter.Filter{Numbers: []int64{2, 3, 4}}, 2}, "several": {deadletter.Filter{Consumer: "c1", Type: "t1", Reason: "r1"}, 2},
		} {
			var got []int64
			for p := (deadletter.Page{Limit: 7}); ; {
				list, err := w.letters.List(t.Context(), c.f, p)
				must(t, err)
				for i := range list {
					got = append(got, list[i].N)
				}
				if len(list) < 7 {
					break
				}
				p.After = got[len(got)-1]
			}
			for i := 1; i < len(got); i++ {
				if got[i] <= got[i-1] {
					t.Errorf("%s: numbers %v", name, got)
				}
			}
			s, err := w.letters.Summary(t.Context(), c.f)
			if len(got) != c.want || err != nil || s.Total != c.want {
				t.Errorf("%s: %d listed, %d counted, want %d: %v", name, len(got), s.Total, c.want, err)
			}
		}
	})
}
