package servers

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sixfold-go/sixfold/itest/leaks"
)

// Main runs the tests of a package that uses servers, ends the shared server, looks for goroutines that are left, and
// exits. It is the body of TestMain:
//
//	func TestMain(m *testing.M) { servers.Main(m) }
//
// The servers themselves leave nothing, so nothing is ignored by default. Options of goleak may be given; say at each why it
// is needed.
func Main(m *testing.M, known ...goleak.Option) {
	Reexec()
	code := m.Run()
	if err := errors.Join(stopShared(), stopSharedRabbitMQ(), stopSharedMariaDB(), stopSharedAWS()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	releaseThread()
	if code == 0 { // a test that failed half-way leaves goroutines, and its own message says more
		if err := leaks.Find(known...); err != nil {
			fmt.Fprintln(os.Stderr, "servers: the tests passed, but left goroutines running; end them before the test returns:", err)
			code = 1
		}
	}
	os.Exit(code)
}
