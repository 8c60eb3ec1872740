package rabbittest

import (
	"testing"

	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/requesttest"
)

// guarantees: Q1
func TestStreamOfATornResponderIsTold(t *testing.T) {
	f := newFixture(t)
	requesttest.TornStream(t, f.requestLane(t, f.url), func(tb testing.TB) (request.Lane, func()) {
		p := newProxy(tb, f.url)
		return f.requestLane(tb, p.url()), func() {
			p.Cut()
			p.Restore()
		}
	})
}
