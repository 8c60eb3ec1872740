package servers

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// mariaBinaries are MariaDB's programs.
type mariaBinaries struct {
	server, install string
	version         string
}

// mariaLogSize is that of the redo log: the template is made with it, since the server would write it anew otherwise.
const mariaLogSize = "32M"

// findMariaDB finds MariaDB's programs, and installs them if they are missing and we are root on Debian.
func findMariaDB(ctx context.Context) (*mariaBinaries, error) {
	if runtime.GOOS == "windows" {
		return nil, fmt.Errorf("%w: a private MariaDB needs a Unix; use WSL or a container", ErrUnavailable)
	}
	b := lookForMariaDB()
	if b == nil {
		if err := installMariaDB(ctx); err != nil {
			return nil, err
		}
		if b = lookForMariaDB(); b == nil {
			return nil, fmt.Errorf("%w: the package mariadb-server is installed, but there is no mariadbd and mariadb-install-db under /usr/sbin, /usr/bin or in PATH", ErrUnavailable)
		}
	}
	out, err := exec.CommandContext(ctx, b.server, "--no-defaults", "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("servers: ask %s for its version: %w", b.server, err)
	}
	b.version = strings.TrimSpace(string(out))
	if _, after, ok := strings.Cut(b.version, "Ver "); ok {
		b.version, _, _ = strings.Cut(after, " ")
	}
	return b, nil
}

func lookForMariaDB() *mariaBinaries {
	find := func(name string) string {
		for _, dir := range []string{"/usr/sbin", "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"} {
			if p := filepath.Join(dir, name); isProgram(p) {
				return p
			}
		}
		p, _ := exec.LookPath(name) // empty if there is none
		return p
	}
	b := &mariaBinaries{server: find("mariadbd"), install: find("mariadb-install-db")}
	if b.server == "" || b.install == "" {
		return nil
	}
	return b
}

// installMariaDB installs Debian's package mariadb-server, without starting the service that comes with it. One process
// of the machine does it at a time; the others wait and find the programs.
func installMariaDB(ctx context.Context) error {
	const missing = "%w: no MariaDB server on this machine (looked under /usr/sbin and in PATH), and %s; install the package mariadb-server"
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
	if lookForMariaDB() != nil {
		return nil // another process was faster
	}
	allow, err := denyServices()
	if err != nil {
		return err
	}
	defer allow()
	for _, args := range [][]string{
		{"-o", "DPkg::Lock::Timeout=300", "update"},
		{"-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends", "mariadb-server"},
	} {
		cmd := exec.CommandContext(ctx, apt, args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf(missing+"\napt-get said: %s", ErrUnavailable, fmt.Sprintf("apt-get %q failed (%v)", args, err), tail(out))
		}
	}
	return nil
}

// copyMariaTemplate fills the empty directory data with fresh system tables. Making them takes seconds, so the result is
// kept in the user's cache, by version, and copied.
func copyMariaTemplate(ctx context.Context, b *mariaBinaries, as *account, data string) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	key := sha256.Sum256([]byte(b.version + "\x00" + b.server + "\x00" + mariaLogSize))
	template := filepath.Join(cache, fmt.Sprintf("mariadb-%x", key[:8]))
	unlock, err := lockFile(template + ".lock")
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(template); errors.Is(err, fs.ErrNotExist) {
		if err := makeMariaTemplate(ctx, b, as, template); err != nil {
			return err
		}
	}
	if err := copyTree(template, data, as); err != nil {
		return fmt.Errorf("servers: copy the template %s (delete it if it is damaged): %w", template, err)
	}
	return nil
}

// makeMariaTemplate makes the system tables in a directory that the account reaches, and puts them in place at once, whole.
func makeMariaTemplate(ctx context.Context, b *mariaBinaries, as *account, template string) error {
	work, err := as.makeDir("sixfold-maria-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	data := filepath.Join(work, "data")
	cmd := exec.CommandContext(ctx, b.install, "--no-defaults", "--datadir="+data, "--tmpdir="+work, "--innodb-log-file-size="+mariaLogSize,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", "--cross-bootstrap")
	cmd.Dir, cmd.Env = work, serverEnv()
	runAs(cmd, as)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("servers: run %s: %w\n%s", b.install, err, tail(out))
	}
	half, err := os.MkdirTemp(filepath.Dir(template), "half-")
	if err != nil {
		return fmt.Errorf("servers: keep the template: %w", err)
	}
	defer os.RemoveAll(half)
	whole := filepath.Join(half, "data")
	if err := os.Mkdir(whole, 0o700); err != nil {
		return fmt.Errorf("servers: keep the template: %w", err)
	}
	if err := copyTree(data, whole, nil); err != nil {
		return fmt.Errorf("servers: keep the template: %w", err)
	}
	return os.Rename(whole, template)
}
