package servers

import (
	"errors"
	"os"
	"testing"
)

// ErrUnavailable is wrapped by the errors of servers that this machine cannot run: programs that are missing and cannot
// be installed, or a platform without them. Every other error is a failure.
var ErrUnavailable = errors.New("server unavailable")

// RequireEnv names the environment variable which, set to 1, turns a test that would be skipped for want of a server into
// a failure. CI sets it.
const RequireEnv = "SIXFOLD_REQUIRE"

// giveUp ends t: skipped if the machine cannot run the server and nobody requires it, failed otherwise.
func giveUp(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, ErrUnavailable) && os.Getenv(RequireEnv) != "1" {
		t.Skipf("%v (set %s=1 to fail instead of skip)", err, RequireEnv)
	}
	t.Fatal(err)
}

// long skips t with -short: PostgreSQL, NATS and what is in the process show enough while one works, and everything else takes its time.
func long(t testing.TB, server string) {
	t.Helper()
	if testing.Short() {
		t.Skipf("-short: without %s", server)
	}
}
