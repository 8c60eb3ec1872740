//go:build unix

package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

var (
	sigFast      os.Signal = syscall.SIGINT
	sigImmediate os.Signal = syscall.SIGQUIT
	sigTerminate os.Signal = syscall.SIGTERM
)

// groupOf puts cmd into a process group of its own, so that Ctrl-C reaches the test and not its servers: the watchdog and
// Close end those in order.
func groupOf(cmd *exec.Cmd) *syscall.SysProcAttr {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	return cmd.SysProcAttr
}

// runAs makes cmd run as u; nil means as ourselves.
func runAs(cmd *exec.Cmd, u *account) {
	if u != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.uid, Gid: u.gid}}
	}
}

// resume lets a process go on that SIGSTOP stopped.
func resume(p *os.Process) { _ = p.Signal(syscall.SIGCONT) }

// lockFile takes an exclusive lock that other processes respect, and returns what releases it. The kernel releases it too
// when this process dies.
func lockFile(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}
