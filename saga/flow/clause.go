package flow

import (
	"fmt"
	"reflect"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/flowplan"
	"github.com/sixfold-go/sixfold/saga"
)

// Do says what a step sends. The command goes where the outbox's routes say, with the instance's key unless it states its own.
// cmd may be called again for another attempt, which is a message with an id of its own: participants know a repeat by what is
// in it. It has no side effects.
func Do[S any, M sixfold.Message](cmd func(s *S) M) Clause[S] {
	return setCommand("Do", func(st *step[S]) *command[S] { return &st.do }, cmd)
}

// Then says which reply tells that the step is done, and what the state learns from it. key answers the key of the instance, as
// Begin does. An error of then fails the handler: the reply is tried again, and nothing has happened; but ErrRefused says that the
// reply is a no, as those of Refused are. A step may have several, for replies of different types.
func Then[S any, R sixfold.Message](key func(R) string, then func(s *S, r R) error) Clause[S] {
	return reply(flowplan.Succeeded, "Then", key, then)
}

// Refused says which reply tells that the step was not done and will not be. Before the pivot, what was done is undone then;
// behind it the step is tried again. key and note are as in Then.
func Refused[S any, R sixfold.Message](key func(R) string, note func(s *S, r R) error) Clause[S] {
	return reply(flowplan.Refused, "Refused", key, note)
}

// Failed says which reply tells that the step was not done this time: it is tried again as Attempts says, and has failed when
// they are used up. key and note are as in Then.
func Failed[S any, R sixfold.Message](key func(R) string, note func(s *S, r R) error) Clause[S] {
	return reply(flowplan.Unable, "Failed", key, note)
}

func reply[S any, R sixfold.Message](what flowplan.What, name string, key func(R) string, apply func(s *S, r R) error) Clause[S] {
	return Clause[S]{func(st *step[S]) {
		a := answer[S]{heard: saga.HeardOf(key), what: what}
		if apply == nil {
			st.errs = append(st.errs, fmt.Errorf("the function of %s is nil; pass a func(*%s, %s) error", name, reflect.TypeFor[S](), reflect.TypeFor[R]()))
		} else {
			a.apply = func(s *S, m any) error { return apply(s, m.(R)) }
		}
		st.do.answers = append(st.do.answers, a)
	}}
}

// Undo says what takes the step back. It is sent when the step is done, or may have been, and something behind it fails, or somebody
// cancels the instance; last step first, and one at a time. It waits for its replies, made with Undone and NotUndone; without
// any, it is done when its command is written.
//
// It may come to the participant before the Do that it takes back, or without one, and more than once.
func Undo[S any, M sixfold.Message](cmd func(s *S) M, replies ...Reply) Clause[S] {
	set := setCommand("Undo", func(st *step[S]) *command[S] { return &st.undo }, cmd).set
	return Clause[S]{func(st *step[S]) {
		set(st)
		for i, r := range replies {
			if r.heard.Decode == nil {
				st.errs = append(st.errs, fmt.Errorf("reply number %d of Undo is empty; make replies with Undone and NotUndone", i+1))
				continue
			}
			st.undo.answers = append(st.undo.answers, answer[S]{heard: r.heard, what: r.what})
		}
	}}
}

// A Reply to an Undo.
type Reply struct {
	heard saga.Heard
	what  flowplan.What
}

// Undone is the reply that tells that the step is undone. key answers the key of the instance, as Begin does.
func Undone[R sixfold.Message](key func(R) string) Reply {
	return Reply{saga.HeardOf(key), flowplan.Succeeded}
}

// NotUndone is the reply that tells that it was not undone this time: it is tried again as UndoAttempts says.
func NotUndone[R sixfold.Message](key func(R) string) Reply {
	return Reply{saga.HeardOf(key), flowplan.Unable}
}

// Beginning is the message that begins an instance.
type Beginning[S any] struct {
	heard saga.Heard
	apply func(s *S, m any) error
	err   error
}

// Begin says which message begins an instance, and what its state is. key answers the key of the instance: 1 to saga.MaxKey bytes,
// and the same in every reply. A second message of that key begins nothing. An error of begin fails the handler.
func Begin[S any, M sixfold.Message](key func(M) string, begin func(s *S, m M) error) Beginning[S] {
	b := Beginning[S]{heard: saga.HeardOf(key)}
	if begin == nil {
		b.err = fmt.Errorf("the function of Begin is nil; pass a func(*%s, %s) error", reflect.TypeFor[S](), reflect.TypeFor[M]())
		return b
	}
	b.apply = func(s *S, m any) error { return begin(s, m.(M)) }
	return b
}
