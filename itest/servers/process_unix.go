//go:build unix && !linux

package servers

import (
	"os"
	"os/exec"
)

// startBound starts cmd in a process group of its own. Only Linux has a parent-death signal; elsewhere the watchdog alone
// ends a server whose parent was killed.
func startBound(cmd *exec.Cmd, _ os.Signal) error {
	groupOf(cmd)
	return cmd.Start()
}

// releaseThread has nothing to release here.
func releaseThread() {}
