package servers

import (
	"fmt"
	"os"
	"os/exec"
	"time"
)

// A process is a started child and the one goroutine that waits for its end.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed once the child has been waited for
}

// startProcess starts cmd so that it gets neither our terminal's signals nor, on Linux, outlives us.
func startProcess(cmd *exec.Cmd, onParentDeath os.Signal) (*process, error) {
	if err := startBound(cmd, onParentDeath); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = cmd.Wait() // how it ended is told by its log; a signal of ours is the usual reason
	}()
	return p, nil
}

// pid is the child's process id. The id is not reused before ended is closed.
func (p *process) pid() int { return p.cmd.Process.Pid }

// running reports whether the child has not ended yet.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// stop sends sig and waits for the end; after the limit it kills the child, and says so.
func (p *process) stop(sig os.Signal, limit time.Duration) error {
	if !p.running() {
		return nil
	}
	_ = p.cmd.Process.Signal(sig)
	resume(p.cmd.Process) // a stopped child would not see the signal
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.ended:
		return nil
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("process %d did not end within %s of signal %q and was killed", p.pid(), limit, sig)
	}
}
