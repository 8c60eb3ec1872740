package mediator

import (
	"fmt"
	"reflect"

	"github.com/sixfold-go/sixfold"
)

// key is the key of the message that m points to, which boxes nothing.
func key(m any) string {
	if k, ok := m.(sixfold.Keyed); ok {
		return k.MessageKey()
	}
	return ""
}

// isKeyed reports whether messages of type M have keys.
func isKeyed[M sixfold.Message]() bool {
	_, ok := any((*M)(nil)).(sixfold.Keyed)
	return ok
}

// isEmpty reports whether an R holds nothing, as struct{} does.
func isEmpty[R any]() bool { return reflect.TypeFor[R]().Size() == 0 }

func noResult(name string) error { return fmt.Errorf("mediator: %.64q: %w", name, ErrNoResult) }
