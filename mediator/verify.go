package mediator

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"

	"github.com/sixfold-go/sixfold"
)

// Verify says everything that is wrong with the routes of an application: what New refuses, and each of messages that has
// no handler, with the file and line where it is declared. Packages of an application export their routes and a value of
// each of their messages; one line in a test looks at all of them:
//
//	if err := mediator.Verify(app.Routes(), app.Messages()...); err != nil { t.Error(err) }
//
// Each error has a line of its own. A notification that nobody has to handle is left out of messages.
func Verify(routes []Route, messages ...sixfold.Message) error {
	_, err := group(routes)
	errs := []error{err}
	handled := map[reflect.Type]bool{}
	for _, r := range routes {
		handled[r.goType] = true
	}
	listed := map[string]reflect.Type{}
	for i, m := range messages {
		t := reflect.TypeOf(m)
		if t == nil || t.Kind() == reflect.Pointer {
			errs = append(errs, invalid("verify: message number %d is %s; a message is a plain value, list one of each type", i+1, typeName(t)))
			continue
		}
		name := m.MessageName()
		if err := sixfold.CheckMessageName(name); err != nil {
			errs = append(errs, fmt.Errorf("mediator: %s (%s): %w", t, declaredAt(t), err))
			continue
		}
		if other, ok := listed[name]; ok && other != t {
			errs = append(errs, invalid("message name %.64q: two types have it, %s (%s) and %s (%s); give each a name of its own", name, other, declaredAt(other), t, declaredAt(t)))
			continue
		} else if ok {
			continue
		}
		listed[name] = t
		switch {
		case handled[t]:
		case sixfold.HasResult(m):
			errs = append(errs, fmt.Errorf("mediator: %.64q (%s, declared at %s): %w; add a route made with mediator.OnCommand, OnQuery or OnStream", name, t, declaredAt(t), ErrNoHandler))
		default:
			errs = append(errs, fmt.Errorf("mediator: %.64q (%s, declared at %s): %w; add a route made with mediator.OnNotification, or leave it out of the list if nobody has to handle it", name, t, declaredAt(t), ErrNoHandler))
		}
	}
	return errors.Join(errs...)
}

func typeName(t reflect.Type) string {
	if t == nil {
		return "nil"
	}
	return t.String()
}

// declaredAt is file:line of the type's method MessageName, which stands beside the type.
func declaredAt(t reflect.Type) string {
	m, ok := t.MethodByName("MessageName")
	if !ok {
		return "unknown place"
	}
	pc := m.Func.Pointer()
	f := runtime.FuncForPC(pc)
	if f == nil {
		return "unknown place"
	}
	file, line := f.FileLine(pc)
	return fmt.Sprintf("%s:%d", file, line)
}
