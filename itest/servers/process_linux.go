package servers

import (
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// startBound starts cmd in a process group of its own, with a signal for the day its parent dies. Linux ties that signal
// to the thread that forked, not to the process (prctl(2), PR_SET_PDEATHSIG), hence the thread that is kept.
func startBound(cmd *exec.Cmd, onParentDeath os.Signal) error {
	attr := groupOf(cmd)
	if sig, ok := onParentDeath.(syscall.Signal); ok {
		attr.Pdeathsig = sig
	}
	var err error
	onBoundThread(func() { err = cmd.Start() })
	return err
}

// serveThread runs what it is sent on one thread, which ends with it.
func serveThread(work <-chan func()) {
	runtime.LockOSThread() // never unlocked: the thread must not be reused, and ends with this goroutine
	for f := range work {
		f()
	}
}

// bound leads to the goroutine that keeps the thread which children are started from. It is process-wide by nature: the
// parent-death signal belongs to a thread of this process.
var bound struct {
	sync.Mutex
	work chan func()
}

// onBoundThread runs f on a thread that lives until releaseThread.
func onBoundThread(f func()) {
	bound.Lock()
	defer bound.Unlock()
	if bound.work == nil {
		bound.work = make(chan func())
		go serveThread(bound.work)
	}
	done := make(chan struct{})
	bound.work <- func() { defer close(done); f() }
	<-done
}

// releaseThread lets the thread go. Children started on it that still run get their parent-death signal.
func releaseThread() {
	bound.Lock()
	defer bound.Unlock()
	if bound.work != nil {
		close(bound.work)
		bound.work = nil
	}
}
