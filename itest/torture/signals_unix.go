//go:build unix

package main

import (
	"os"
	"os/exec"
	"syscall"
)

const (
	sigTerminate = syscall.SIGTERM
	sigKill      = syscall.SIGKILL
	sigFreeze    = syscall.SIGSTOP
	sigThaw      = syscall.SIGCONT
)

// killSelf ends this process as kill -9 does, and never returns.
func killSelf() {
	for {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
}

// freezeSelf stops this process until somebody continues it.
func freezeSelf() { _ = syscall.Kill(os.Getpid(), syscall.SIGSTOP) }

// apart gives cmd a process group of its own, so that the terminal's signals reach the orchestrator alone. A frozen member
// of a group whose parent has died is continued by the kernel, so that it can see the end of its input.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// wasKilled reports whether a process ended by SIGKILL.
func wasKilled(s *os.ProcessState) bool {
	status, ok := s.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
