package flowplan_test

import (
	"encoding/json"
	"fmt"
	"testing"

	fp "github.com/sixfold-go/sixfold/internal/flowplan"
	"github.com/sixfold-go/sixfold/internal/flowtest"
)

// Random flows with refusals, silence, repeats, reordering, late answers and people who interfere: each comes to one end and
// stays there, what was undone was undone in reverse, nothing was undone that was never started, and nobody's money is gone.
// guarantees: S2, S3, S4
func TestRandomFlows(t *testing.T) {
	flows := uint64(10_000)
	if testing.Short() {
		flows = 2_000
	}
	ends := map[fp.Phase]uint64{}
	for seed := range flows {
		w := flowtest.New(t, seed)
		m := &machine{w: w, asked: map[string]bool{}, thrifty: seed%4 != 0} // JSON is most of the time that this takes
		m.apply(func(st *fp.State) []fp.Effect { return w.Plan.Begin(st, m.cond) })
		ends[w.Run(m)]++
		if m.ends != 1+m.reopens {
			w.Bad(m, "it ended %d times, and was opened again %d times", m.ends, m.reopens)
		}
	}
	t.Logf("ends: %v", ends)
	for _, end := range []fp.Phase{fp.Completed, fp.Compensated, fp.Stuck} {
		if ends[end] < flows/50 {
			t.Errorf("%d of the flows ended as %s: that shows nothing", ends[end], end)
		}
	}
}

// machine is a plan by itself, whose state goes through JSON between two events unless it is thrifty.
type machine struct {
	w             *flowtest.World
	st            fp.State
	thrifty       bool
	asked         map[string]bool
	ids           int
	ends, reopens int
}

func (m *machine) cond(path string) bool {
	if m.asked[path] {
		m.w.Bad(m, "the condition %s was asked twice", path)
	}
	m.asked[path] = true
	return m.w.Cond(path)
}

func (m *machine) Phase() fp.Phase { return m.st.Phase }

func (m *machine) State() string {
	text, err := json.Marshal(m.st)
	if err != nil {
		m.w.T.Fatal(err)
	}
	return string(text)
}

func (m *machine) Reply(f flowtest.Flying) bool {
	ref, ok := m.st.Answered(f.ID)
	if ok && ref != f.Ref {
		m.w.Bad(m, "the reply to %+v is taken for that to %+v", f.Ref, ref)
	}
	return ok && m.event(fp.Event{What: f.What, Ref: ref})
}

func (m *machine) Due(f flowtest.Flying) bool { return m.event(fp.Event{What: f.What, Ref: f.Ref}) }

func (m *machine) Operate(what fp.What) bool {
	stuck := m.st.Phase == fp.Stuck
	taken := m.event(fp.Event{What: what})
	if taken && stuck {
		m.reopens++
	}
	return taken
}

func (m *machine) event(ev fp.Event) bool {
	v := m.w.Plan.Judge(&m.st, ev)
	m.apply(func(st *fp.State) []fp.Effect { return m.w.Plan.Apply(st, ev, m.cond) })
	return v == fp.Taken
}

func (m *machine) apply(fn func(st *fp.State) []fp.Effect) {
	if !m.thrifty {
		var again fp.State
		if err := json.Unmarshal([]byte(m.State()), &again); err != nil {
			m.w.T.Fatal(err)
		}
		m.st = again
	}
	for _, e := range fn(&m.st) {
		m.ids++
		id := fmt.Sprint("id-", m.ids)
		switch e.Kind {
		case fp.Send:
			m.st.Sent(e.Ref, id)
			m.w.Sent(id, e.Ref)
		case fp.SetTimer:
			m.st.Armed(e.Ref, id)
			m.w.Armed(id, e.Ref, e.Again)
		case fp.CancelTimer:
			m.w.Cancelled(e.Timer)
		case fp.Finish:
			m.ends++
		}
	}
}
