package mediator_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
)

// lineOf is the number of the first line of a file that has text.
func lineOf(t *testing.T, file, text string) string {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(src), text)
	if !found {
		t.Fatalf("%s has no %q", file, text)
	}
	return fmt.Sprintf("%s:%d", file, strings.Count(before, "\n")+1)
}

// guarantees: M4
func TestM4VerifyNamesEverythingAtOnce(t *testing.T) {
	routes := []mediator.Route{
		mediator.OnCommand(onCreate), // the first
		mediator.OnQuery(onFind),
		mediator.OnCommand(func(context.Context, create) (string, error) { return "", nil }), // the second
	}
	err := mediator.Verify(routes, create{}, find{}, cancel{}, placed{}, unheard{}, create2{}, &placed{}, nil, cancel{})
	says(t, err, mediator.ErrNoHandler,
		`"orders.cancel" (mediator_test.cancel, declared at `, lineOf(t, "mediator_test.go", "func (cancel) MessageName()")+"): it has no handler; add a route made with mediator.OnCommand",
		`"orders.placed" (mediator_test.placed`, lineOf(t, "mediator_test.go", "func (placed) MessageName()")+"): it has no handler; add a route made with mediator.OnNotification",
		`"orders.unheard"`, lineOf(t, "mediator_test.go", "func (unheard) MessageName()"),
		`command "orders.create": it has two handlers, mediator_test.onCreate (`, lineOf(t, "verify_test.go", "// the first")+") and ", lineOf(t, "verify_test.go", "// the second")+")",
		`two types have it, mediator_test.create (`, "mediator_test.create2 (", lineOf(t, "mediator_test.go", "func (create2) MessageName()"),
		"message number 7 is *mediator_test.placed", "message number 8 is nil")
	if n := strings.Count(err.Error(), "\n") + 1; n != 7 {
		t.Errorf("%d errors:\n%v", n, err)
	}
	says(t, err, sixfold.ErrInvalid)
}

// guarantees: M4
func TestM4VerifyOfWhatIsWhole(t *testing.T) {
	routes := []mediator.Route{mediator.OnCommand(onCreate), mediator.OnNotification(onPlaced), mediator.OnNotification(onPlaced)}
	if err := mediator.Verify(routes, create{}, placed{}); err != nil {
		t.Error(err)
	}
}
