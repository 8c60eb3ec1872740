package sixfoldtest

import (
	"context"
	"slices"
	"testing"

	"github.com/sixfold-go/sixfold"
)

// A History knows publications: a Recorder those that were committed, a Broker those that were sent.
type History interface {
	// All answers them in their order.
	All(ctx context.Context) ([]Publication, error)
}

// Published answers the messages of type M that were published, in their order: each once, however many destinations it
// has and however often it was sent. Dead letters are not among them. A message that cannot be read ends the test.
func Published[M sixfold.Message](t testing.TB, from History) []M {
	t.Helper()
	return find[M](t, from, false)
}

// Dead answers the messages of type M that became dead letters, like Published. All has the reasons.
func Dead[M sixfold.Message](t testing.TB, from History) []M {
	t.Helper()
	return find[M](t, from, true)
}

func find[M sixfold.Message](t testing.TB, from History, dead bool) (ms []M) {
	t.Helper()
	route := sixfold.RouteOf[M]()
	all, err := from.All(t.Context())
	if err != nil {
		t.Fatalf("sixfoldtest: published %s: %v", route.Name, err)
	}
	seen := map[string]bool{}
	for i := range all {
		env := all[i].Envelope
		if env.Type != route.Name && !slices.Contains(route.Former, env.Type) {
			continue
		}
		if _, is := all[i].Dead(); is != dead || seen[env.ID] {
			continue
		}
		seen[env.ID] = true
		m, err := sixfold.Decode[M](t.Context(), env)
		if err != nil {
			t.Fatalf("sixfoldtest: published %s: message %s: %v", route.Name, env.ID, err)
		}
		ms = append(ms, m)
	}
	return ms
}
