package saga

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/internal/planted"
	"github.com/sixfold-go/sixfold/sqltx"
)

// attempt is one message at one saga, in as many transactions as it takes.
type attempt struct {
	env   *sixfold.Envelope
	runs  int64 // transactions
	fate  fate
	entry *Entry // of an instance whose step failed in the last transaction; nil: there is none to put it down for
}

// fate is what became of the message in the last transaction.
type fate int

const (
	noFate fate = iota
	stepped
	noInstance
	hadEnded
	staleTimer
	dropped
)

var fates = [...]string{noInstance: "no instance has begun", hadEnded: "the instance has ended", staleTimer: "the timer was cancelled, has come before, or is of another instance",
	dropped: "the instance does not wait for it"}

type attemptKey struct{}

func attemptFrom(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	return a
}

// handle runs a step's route for one message, and counts what became of it.
func (g *Saga[X, S]) handle(ctx context.Context, env *sixfold.Envelope, next sixfold.Handler) (err error) {
	a := &attempt{env: env}
	defer func() {
		if p := recover(); p != nil {
			broken := sixfold.NewPanicError(p)
			g.box.opts.Logger.Error("saga: step panicked", "saga", g.name, "message", env, "stack", string(broken.Stack))
			err = fmt.Errorf("saga: step %s of %s: %w", quote(env.Type), g.name, broken)
		}
		g.stats.conflicts.Add(max(a.runs-1, 0))
		if err != nil {
			g.stats.failed.Add(1)
			if a.entry != nil {
				err = &stepError{err: err, store: g.box.store, entry: a.entry}
			}
			return
		}
		g.count(ctx, a)
	}()
	return next(context.WithValue(ctx, attemptKey{}, a), env)
}

func (g *Saga[X, S]) count(ctx context.Context, a *attempt) {
	c := &g.stats
	switch a.fate {
	case stepped:
		c.steps.Add(1)
		return
	case noInstance:
		c.noInstance.Add(1)
	case hadEnded:
		c.ended.Add(1)
	case staleTimer:
		c.stale.Add(1)
	case dropped:
		c.dropped.Add(1)
	default:
		return // the message was handled before
	}
	if log := g.box.opts.Logger; log.Enabled(ctx, slog.LevelInfo) {
		log.InfoContext(ctx, "saga: message dropped", "saga", g.name, "message", a.env, "reason", fates[a.fate])
	}
}

// step is one transaction of a step: load, run, save.
func (g *Saga[X, S]) step(ctx context.Context, a *attempt, x X, st *Step[X, S], key string, run func(context.Context, *S, *Effects) error) error {
	a.runs++
	a.fate, a.entry = noFate, nil
	tx := g.box.in.Tx(x)
	in, fate, err := g.load(ctx, a, tx, st, key)
	if err != nil || in == nil {
		a.fate = fate
		return err
	}
	e := &Entry{Instance: in.ID, Kind: Stepped, Version: in.Version, Step: st.route.Name, Message: line(a.env.ID, sixfold.MaxName),
		Detail: Detail{Attempt: 1, From: in.Status.String()}}
	if info := sixfold.InfoFrom(ctx); info != nil {
		e.Detail.Attempt = info.Attempt
	}
	if in.Version > 0 { // else the instance goes with the transaction
		failed := *e
		failed.Kind = FailedStep
		a.entry = &failed
	}
	var s S
	if in.Version > 0 {
		if err := g.schema.decode(in, &s); err != nil {
			return err
		}
	}
	fx := &Effects{unit: g.box.out.Unit(ctx), in: in, known: g.timers}
	switch {
	case st.kind == awaits && a.env.Type != st.timer:
		fx.CancelTimeout(st.of(a.env)) // the one of its deadline
	case st.kind == awaits, st.kind == timesOut:
		in.Timers = slices.DeleteFunc(slices.Clone(in.Timers), func(t Timer) bool { return t.ID == a.env.ID })
	}
	begun := time.Now()
	err = run(ctx, &s, fx)
	e.Took = time.Since(begun)
	if a.entry != nil {
		a.entry.Took = e.Took
	}
	if err != nil {
		return err
	}
	if fx.dropped {
		if in.Version == 0 { // it is entered already
			return sixfold.Permanent(fmt.Errorf("saga: step %s of %s: %w drop: the message begins an instance; Fail that, or do not let the step begin one", quote(st.route.Name), g.name, sixfold.ErrInvalid))
		}
		a.fate = dropped
		return nil
	}
	if err := fx.finish(); err != nil {
		return err
	}
	if err := g.save(ctx, tx, in, &s, fx, e); err != nil {
		return err
	}
	a.fate = stepped
	return nil
}

// load finds the instance for a message; nil and its fate: there is none that hears of it.
func (g *Saga[X, S]) load(ctx context.Context, a *attempt, tx sqltx.Tx, st *Step[X, S], key string) (*Instance, fate, error) {
	if err := checkKey(key); err != nil {
		if st.kind == timesOut {
			return nil, staleTimer, nil // no timer of ours
		}
		return nil, noFate, sixfold.Permanent(fmt.Errorf("saga: step %s of %s: %w", quote(st.route.Name), g.name, err))
	}
	fresh := ""
	if st.kind == starts {
		fresh = sixfold.NewID()
	}
	store := g.box.store.Instances()
	in, err := store.Load(ctx, tx, g.name, key, fresh)
	switch {
	case err != nil:
		return nil, noFate, fmt.Errorf("saga: load %s %s: %w", g.name, quote(key), err)
	case st.kind == timesOut && (in == nil || in.Status.Ended() || !in.waitsFor(a.env.ID) && !planted.Is(planted.PredecessorsTimer)):
		return nil, staleTimer, nil
	case in == nil && st.required:
		return nil, noFate, fmt.Errorf("%w: %s %s has not begun, and step %s is Required (%w); it is tried again, and can be redriven when the instance has begun",
			ErrNoInstance, g.name, quote(key), quote(st.route.Name), inbox.ErrAside)
	case in == nil:
		return nil, noInstance, nil
	case !in.Status.Ended() && st.kind == awaits && !in.waitsFor(st.of(a.env)):
		return nil, dropped, nil
	case !in.Status.Ended():
		return in, noFate, nil
	case !st.restarts || in.Status == Stuck:
		return nil, hadEnded, nil
	}
	in, err = store.Succeed(ctx, tx, in, fresh)
	if err != nil {
		return nil, noFate, fmt.Errorf("saga: begin %s %s again: %w", g.name, quote(key), err)
	}
	return in, noFate, nil
}

// save writes the instance and its effects.
func (g *Saga[X, S]) save(ctx context.Context, tx sqltx.Tx, in *Instance, s *S, fx *Effects, e *Entry) error {
	state, err := encode(s)
	if err != nil {
		return err
	}
	if in.Version > 0 && in.Schema != g.schema.version {
		e.Detail.Upcast = in.Schema
	}
	e.Version++
	e.Detail.Changes = changes(in.State, state)
	if to := in.Status.String(); to != e.Detail.From {
		e.Detail.To, e.Detail.Reason = to, in.Reason
	}
	e.Detail.Effects = fx.log[:min(len(fx.log), MaxEffects)]
	e.Detail.More = len(fx.log) - len(e.Detail.Effects)
	in.State, in.Schema, in.Step = state, g.schema.version, e.Step
	store := g.box.store.Instances()
	if err := store.Save(ctx, tx, in, e); err != nil {
		if planted.Is(planted.ConflictCounts) {
			err = errors.New(err.Error())
		}
		return fmt.Errorf("saga: save %s %s: %w", g.name, quote(in.Key), err)
	}
	if len(fx.cancel) > 0 {
		if err := store.CancelTimers(ctx, tx, fx.cancel); err != nil {
			return fmt.Errorf("saga: cancel timers of %s %s: %w", g.name, quote(in.Key), err)
		}
	}
	if planted.Is(planted.EffectsApart) {
		return g.box.in.Run(ctx, func(ctx context.Context, own X) error { return fx.unit.Write(ctx, g.box.in.Tx(own)) })
	}
	return fx.unit.Write(ctx, tx)
}

// stepError is a failed step, which the transaction that parks its message puts down in the journal.
type stepError struct {
	err   error
	store Store
	entry *Entry
}

func (e *stepError) Error() string { return e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// NoteParked implements inbox.Noter.
func (e *stepError) NoteParked(ctx context.Context, tx sqltx.Tx, text string) error {
	own := *e.entry
	own.Detail.Error = line(text, maxError)
	return e.store.Instances().Note(ctx, tx, &own)
}
