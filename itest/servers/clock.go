package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// findFakeTime returns the library that moves a server's clock, libfaketime, and installs Debian's package where it is
// missing, if we are root.
func findFakeTime(ctx context.Context) (string, error) {
	if lib := fakeTimeLibrary(); lib != "" {
		return lib, nil
	}
	const missing = "%w: no libfaketime on this machine (looked under /usr/lib/*/faketime), and %s; install the package libfaketime"
	if os.Geteuid() != 0 {
		return "", fmt.Errorf(missing, ErrUnavailable, "only root could install it")
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return "", fmt.Errorf(missing, ErrUnavailable, "there is no apt-get to install it with")
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	unlock, err := lockFile(filepath.Join(cache, "install.lock"))
	if err != nil {
		return "", fmt.Errorf("servers: %w", err)
	}
	defer unlock()
	for _, args := range [][]string{
		{"-o", "DPkg::Lock::Timeout=300", "update"},
		{"-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends", "libfaketime"},
	} {
		cmd := exec.CommandContext(ctx, apt, args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf(missing+"\napt-get said: %s", ErrUnavailable, fmt.Sprintf("apt-get %q failed (%v)", args, err), tail(out))
		}
	}
	if lib := fakeTimeLibrary(); lib != "" {
		return lib, nil
	}
	return "", fmt.Errorf(missing, ErrUnavailable, "its package has none there")
}

func fakeTimeLibrary() string {
	found, err := filepath.Glob("/usr/lib/*/faketime/libfaketime.so.1")
	if err != nil || len(found) == 0 {
		return ""
	}
	return found[0]
}

// moveClock puts the server's clock d ahead of the machine's, or behind it.
func (p *PostgresServer) moveClock(d time.Duration) error {
	// Renamed into its place: the server reads it at each look at the clock, and must not find half of it.
	next := p.clockPath() + ".next"
	err := os.WriteFile(next, fmt.Appendf(nil, "%+.6f\n", d.Seconds()), 0o600)
	if err == nil {
		err = p.as.own(next)
	}
	if err == nil {
		err = os.Rename(next, p.clockPath())
	}
	if err != nil {
		return fmt.Errorf("servers: move the clock of PostgreSQL: %w", err)
	}
	return nil
}

// MoveClock puts the clock of a server with PostgresOptions.OwnClock d ahead of the machine's, or behind it, while it runs. All its
// sessions have it from their next statement on. What the server itself waits for goes by a clock that is not moved.
func (p *PostgresServer) MoveClock(d time.Duration) error {
	if p.fakeTime == "" {
		return errors.New("servers: move the clock of PostgreSQL: it has none of its own; start it with OwnClock")
	}
	return p.moveClock(d)
}

// clockEnv is the environment of a server with a clock of its own.
func (p *PostgresServer) clockEnv() []string {
	if p.fakeTime == "" {
		return nil
	}
	// Versions of the library differ in the name of what leaves the monotonic clock alone.
	return []string{"LD_PRELOAD=" + p.fakeTime, "FAKETIME_TIMESTAMP_FILE=" + p.clockPath(), "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1", "FAKETIME_DISABLE_SHM=1"}
}

func (p *PostgresServer) clockPath() string { return filepath.Join(p.dir, "clock") }
