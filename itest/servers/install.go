package servers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// policyPath is where Debian's invoke-rc.d looks for leave to start a service; exit status 101 denies it.
const (
	policyPath = "/usr/sbin/policy-rc.d"
	policyDeny = "#!/bin/sh\n# Written while Sixfold's tests install PostgreSQL, so that no service is started.\nexit 101\n"
)

// installPostgres installs Debian's package postgresql, without starting the service that comes with it. One process of
// the machine does it at a time; the others wait and find the programs.
func installPostgres(ctx context.Context) error {
	const missing = "%w: no PostgreSQL server on this machine (looked under /usr/lib/postgresql/*/bin and in PATH), and %s; install the package postgresql"
	if os.Geteuid() != 0 {
		return fmt.Errorf(missing, ErrUnavailable, "only root could install it")
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return fmt.Errorf(missing, ErrUnavailable, "there is no apt-get to install it with")
	}
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	unlock, err := lockFile(filepath.Join(cache, "install.lock"))
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	defer unlock()
	if binaryDir() != "" {
		return nil // another process was faster
	}
	allow, err := denyServices()
	if err != nil {
		return err
	}
	defer allow()
	for _, args := range [][]string{
		{"-o", "DPkg::Lock::Timeout=300", "update"},
		{"-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends", "postgresql"},
	} {
		cmd := exec.CommandContext(ctx, apt, args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf(missing+"\napt-get said: %s", ErrUnavailable, fmt.Sprintf("apt-get %q failed (%v)", args, err), tail(out))
		}
	}
	return nil
}

// denyServices keeps packages from starting services until allow is called. A policy that is there already stays.
func denyServices() (allow func(), err error) {
	f, err := os.OpenFile(policyPath, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("servers: write %s: %w", policyPath, err)
	}
	_, err = f.WriteString(policyDeny)
	if err := errors.Join(err, f.Close()); err != nil {
		os.Remove(policyPath)
		return nil, fmt.Errorf("servers: write %s: %w", policyPath, err)
	}
	return func() { os.Remove(policyPath) }, nil
}

// tail returns the last lines of a program's output.
func tail(out []byte) string {
	const most = 2000
	if len(out) > most {
		out = append([]byte("… "), out[len(out)-most:]...)
	}
	return string(out)
}
