//go:build unix

package servers_test

import (
	"errors"
	"syscall"
	"testing"
)

func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

func signalTo(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatalf("signal process %d: %v", pid, err)
	}
}

func kill(t *testing.T, pid int) { t.Helper(); signalTo(t, pid, syscall.SIGKILL) }

// freeze stops a process so that it reacts to nothing but SIGKILL until it is woken.
func freeze(t *testing.T, pid int) { t.Helper(); signalTo(t, pid, syscall.SIGSTOP) }
