//go:build !unix

package servers

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
)

// Where there are no Unix signals, only the embedded NATS server is offered.
var (
	sigFast      os.Signal = os.Interrupt
	sigImmediate os.Signal = os.Kill
	sigTerminate os.Signal = os.Kill
)

func errPlatform() error {
	return fmt.Errorf("%w: child servers need a Unix, this is %s; use WSL or a container", ErrUnavailable, runtime.GOOS)
}

func startBound(*exec.Cmd, os.Signal) error { return errPlatform() }

func releaseThread() {}

func runAs(*exec.Cmd, *account) {}

func resume(*os.Process) {}

func lockFile(string) (func(), error) { return nil, errPlatform() }
