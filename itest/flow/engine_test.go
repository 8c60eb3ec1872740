package flow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	fp "github.com/sixfold-go/sixfold/internal/flowplan"
	"github.com/sixfold-go/sixfold/internal/flowtest"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
	"github.com/sixfold-go/sixfold/sqltx"
)

// One command and one message for each kind of reply serve all steps: that a reply finds its step is up to the causation.
type (
	started struct{ Key string }
	work    struct{ Step string }
	unwork  struct{ Step string }
	worked  struct{ Key string }
	refusal struct{ Key string }
	failure struct{ Key string }
	gone    struct{ Key string }
	stays   struct{ Key string }
)

func (started) MessageName() string { return "test.started" }
func (work) MessageName() string    { return "test.work" }
func (unwork) MessageName() string  { return "test.unwork" }
func (worked) MessageName() string  { return "test.worked" }
func (refusal) MessageName() string { return "test.refusal" }
func (failure) MessageName() string { return "test.failure" }
func (gone) MessageName() string    { return "test.gone" }
func (stays) MessageName() string   { return "test.stays" }

func (m started) id() string { return m.Key }
func (m worked) id() string  { return m.Key }
func (m refusal) id() string { return m.Key }
func (m failure) id() string { return m.Key }
func (m gone) id() string    { return m.Key }
func (m stays) id() string   { return m.Key }

// state is what a flow heard.
type state struct{ Heard int }

func hear[M sixfold.Message](s *state, _ M) error { s.Heard++; return nil }

// parts writes a random flow as a user would.
func parts(w *flowtest.World, of []*fp.Part, above string) (out []flow.Part[state]) {
	for i, p := range of {
		path := p.Name
		if above != "" {
			path = above + "/" + p.Name
		}
		switch p.Kind {
		case fp.Task:
			t := step(p.Name, p.Step)
			if i+1 < len(of) && of[i+1].Kind == fp.Pivot {
				t = t.Pivot()
			}
			out = append(out, t)
		case fp.Sequence:
			out = append(out, flow.Sub(p.Name, parts(w, p.Parts, path)...))
		case fp.Parallel:
			out = append(out, flow.Parallel(p.Name, parts(w, p.Parts, path)...))
		case fp.Condition:
			out = append(out, flow.When(p.Name, func(*state) bool { return w.Cond(path) }, parts(w, p.Parts, path)...))
		}
	}
	return out
}

func step(name string, s *fp.Step) flow.Task[state] {
	clauses := []flow.Clause[state]{flow.Do(func(*state) work { return work{name} })}
	if s.Do.Answered {
		clauses = append(clauses, flow.Then(worked.id, hear[worked]), flow.Refused(refusal.id, hear[refusal]), flow.Failed(failure.id, hear[failure]))
	}
	var undo fp.Command
	if s.Undo != nil {
		undo = *s.Undo
		var replies []flow.Reply
		if undo.Answered {
			replies = []flow.Reply{flow.Undone(gone.id), flow.NotUndone(stays.id)}
		}
		clauses = append(clauses, flow.Undo(func(*state) unwork { return unwork{name} }, replies...))
	}
	t := flow.Step(name, clauses...).Attempts(retry(s.Do)).UndoAttempts(retry(undo))
	if limit := max(s.Do.Within, undo.Within); limit > 0 {
		t = t.Within(limit)
	}
	if s.NoUndo != "" {
		t = t.NoUndo(s.NoUndo)
	}
	return t
}

func retry(c fp.Command) sixfold.Retry {
	r := sixfold.Retry{MaxAttempts: c.Attempts, Backoff: func(int) time.Duration { return 0 }}
	if c.Delay != nil {
		r.Backoff = c.Delay
	}
	return r
}

// stores of a database.
type stores struct {
	outbox outbox.Store
	inbox  inbox.Store
	sagas  saga.Store
}

// person is what people may do with a flow.
type person interface {
	Cancel(ctx context.Context, key, who string) error
	Retry(ctx context.Context, key, step, who string) error
	Resume(ctx context.Context, key, step, who string) error
}

// engine runs one instance of a random flow on a database. It dies at any commit, before or behind it, and comes again.
type engine struct {
	w      *flowtest.World
	sagas  saga.Store
	key    string
	routes map[string]sixfold.Handler
	person person
	deaths *deaths
	id     string         // of the instance
	read   int64          // of the journal
	sends  int64          // that the journal speaks of
	seen   *saga.Instance // since something happened last
}

var errDeath = errors.New("the process died")

// deaths come at random when they are on.
type deaths struct {
	chance func() bool
	n      int
}

// mortal is a database whose transactions end with the process now and then.
func mortal[X any](db sqltx.DB[X], d *deaths) sqltx.DB[X] {
	own := db
	own.CommitWith = nil
	own.Run = func(ctx context.Context, fn func(X) error) error {
		before, behind := d.chance(), d.chance()
		err := db.Run(ctx, func(x X) error {
			if err := fn(x); err != nil || !before {
				return err
			}
			d.n++
			return errDeath
		})
		if err == nil && behind {
			d.n++
			return errDeath
		}
		return err
	}
	return own
}

// begin makes the flow of a world and begins its instance.
func begin[X any](w *flowtest.World, seed uint64, db sqltx.DB[X], st stores, mortality int) *engine {
	w.T.Helper()
	name := fmt.Sprintf("f%d", seed)
	m := &engine{w: w, sagas: st.sagas, key: fmt.Sprintf("k%d", seed), routes: map[string]sixfold.Handler{}}
	m.deaths = &deaths{chance: func() bool { return mortality > 0 && w.Rng.IntN(mortality) == 0 }}
	quiet := slog.New(slog.DiscardHandler)
	out, err := outbox.New(st.outbox, nil, outbox.To("work", work{}, unwork{}), outbox.ToConsumer("flows", flow.Timer(name)))
	must(w.T, err)
	in, err := inbox.New(mortal(db, m.deaths), st.inbox, &inbox.Options{Logger: quiet})
	must(w.T, err)
	box, err := saga.NewBox(in, out, st.sagas, &saga.Options{Logger: quiet})
	must(w.T, err)
	f, err := flow.New(name, box, &flow.Options{Logger: quiet}, flow.Begin(started.id, hear[started]), parts(w, w.Root.Parts, "")...)
	must(w.T, err)
	m.person = f
	for _, r := range f.Routes() {
		m.routes[r.Name] = r.Handler()
	}
	env, err := sixfold.NewEnvelope(w.T.Context(), "test", nil, started{m.key})
	must(w.T, err)
	m.deliver(env)
	m.heard(env.ID)
	return m
}

// deliver hands an envelope to its route until it is handled, as a broker would.
func (m *engine) deliver(env *sixfold.Envelope) {
	m.w.T.Helper()
	h := m.routes[env.Type]
	if h == nil {
		m.w.Bad(m, "no route takes %s", env.Type)
	}
	ctx := sixfold.WithInfo(m.w.T.Context(), &sixfold.Info{Envelope: env, Consumer: "flows", Attempt: 1})
	m.live(func() error { return h(ctx, env) })
}

// live does something until it does not die.
func (m *engine) live(do func() error) error {
	m.w.T.Helper()
	for {
		m.seen = nil
		err := do()
		m.seen = nil
		if err == nil || !errors.Is(err, errDeath) {
			if err != nil && !errors.Is(err, flow.ErrPastPivot) && !errors.Is(err, flow.ErrNotStuck) && !errors.Is(err, saga.ErrEnded) {
				m.w.T.Fatal(err)
			}
			return err
		}
	}
}

func (m *engine) instance() *saga.Instance {
	m.w.T.Helper()
	if m.seen != nil {
		return m.seen
	}
	all, err := m.sagas.Records().List(m.w.T.Context(), saga.Filter{Key: m.key, Full: true}, saga.Page{Limit: 10})
	must(m.w.T, err)
	if len(all) != 1 {
		m.w.T.Fatalf("there are %d instances of %s", len(all), m.key)
	}
	m.id, m.seen = all[0].ID, &all[0]
	return m.seen
}

func (m *engine) State() string { return string(m.instance().State) }

func (m *engine) progress() *fp.State {
	m.w.T.Helper()
	var s struct {
		Flow fp.State `json:"$flow"`
	}
	must(m.w.T, json.Unmarshal([]byte(m.State()), &s))
	return &s.Flow
}

func (m *engine) Phase() fp.Phase {
	m.w.T.Helper()
	in, st := m.instance(), m.progress()
	if in.Status.String() != string(st.Phase) {
		m.w.Bad(m, "the instance is %v and its flow %v", in.Status, st.Phase)
	}
	return st.Phase
}

// heard reads the journal for what a message, or a person, did: nothing, or one entry.
func (m *engine) heard(message string) bool {
	m.w.T.Helper()
	m.instance()
	entries, err := m.sagas.Records().History(m.w.T.Context(), m.id, m.read, 100)
	must(m.w.T, err)
	if len(entries) > 1 {
		m.w.Bad(m, "one message has %d entries in the journal", len(entries))
	}
	for _, e := range entries {
		m.read = e.N
		if e.Message != message {
			m.w.Bad(m, "the journal speaks of %s, and %s came", e.Message, message)
		}
		st := m.progress()
		for _, fx := range e.Detail.Effects {
			switch fx.Kind {
			case "send":
				ref, ok := st.Answered(fx.ID)
				if !ok || ref.Undo != (fx.Type == unwork{}.MessageName()) {
					m.w.Bad(m, "the journal says that %s %s was sent, and the state knows %+v", fx.Type, fx.ID, ref)
				}
				m.sends++
				m.w.Sent(fx.ID, ref)
			case "timer":
				m.armed(st, fx.ID)
			case "cancel":
				m.w.Cancelled(fx.ID)
			}
		}
	}
	return len(entries) > 0
}

// armed finds whose timer it is.
func (m *engine) armed(st *fp.State, id string) {
	m.w.T.Helper()
	for path, g := range st.Steps {
		switch id {
		case g.Do.Timer:
			m.w.Armed(id, fp.Ref{Step: path, Attempt: g.Do.N}, g.Status == fp.Pausing)
			return
		case g.Undo.Timer:
			m.w.Armed(id, fp.Ref{Step: path, Undo: true, Attempt: g.Undo.N}, g.Status == fp.UndoPausing)
			return
		}
	}
	m.w.Bad(m, "timer %s belongs to no step", id)
}

func (m *engine) Reply(f flowtest.Flying) bool {
	m.w.T.Helper()
	var msg sixfold.Message
	switch {
	case f.Undo && f.What == fp.Succeeded:
		msg = gone{m.key}
	case f.Undo:
		msg = stays{m.key}
	case f.What == fp.Succeeded:
		msg = worked{m.key}
	case f.What == fp.Refused:
		msg = refusal{m.key}
	default:
		msg = failure{m.key}
	}
	env, err := sixfold.NewEnvelope(m.w.T.Context(), "test", nil, msg)
	must(m.w.T, err)
	env.CausationID = f.ID
	env.ID = fmt.Sprintf("%s-%d", f.ID, f.N) // a second copy has the same
	m.deliver(env)
	return m.heard(env.ID)
}

func (m *engine) Due(f flowtest.Flying) bool {
	m.w.T.Helper()
	t := struct {
		fp.Ref
		Again bool `json:"again"`
	}{f.Ref, f.What == fp.TryAgain}
	body, err := json.Marshal(t)
	must(m.w.T, err)
	i := slices.IndexFunc(keys(m.routes), func(name string) bool { return len(name) > 11 && name[len(name)-11:] == ".flow-timer" })
	m.deliver(&sixfold.Envelope{ID: f.ID, Source: "test", Type: keys(m.routes)[i], Key: m.key, ContentType: "application/json", Body: body})
	return m.heard(f.ID)
}

func (m *engine) Operate(what fp.What) bool {
	m.w.T.Helper()
	done := false
	_ = m.live(func() (err error) {
		switch ctx := m.w.T.Context(); what {
		case fp.Cancel:
			err = m.person.Cancel(ctx, m.key, "test")
		case fp.Retry:
			err = m.person.Retry(ctx, m.key, "", "test")
		default:
			err = m.person.Resume(ctx, m.key, "", "test")
		}
		done = done || m.heard("") // a person who saw no answer asks again
		return err
	})
	return done
}
