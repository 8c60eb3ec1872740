package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// rabbitBinaries are RabbitMQ's programs.
type rabbitBinaries struct{ server, control, epmd string }

// findRabbitMQ finds RabbitMQ's programs, and installs them if they are missing and we are root on Debian.
func findRabbitMQ(ctx context.Context) (*rabbitBinaries, error) {
	if runtime.GOOS == "windows" {
		return nil, fmt.Errorf("%w: a private RabbitMQ needs a Unix; use WSL or a container", ErrUnavailable)
	}
	if b := lookForRabbitMQ(); b != nil {
		return b, nil
	}
	if err := installRabbitMQ(ctx); err != nil {
		return nil, err
	}
	b := lookForRabbitMQ()
	if b == nil {
		return nil, fmt.Errorf("%w: the package rabbitmq-server is installed, but there is no rabbitmq-server, rabbitmqctl and epmd under /usr/lib/rabbitmq/bin or in PATH", ErrUnavailable)
	}
	return b, nil
}

// lookForRabbitMQ prefers the scripts themselves over Debian's wrappers in PATH, which change the user.
func lookForRabbitMQ() *rabbitBinaries {
	find := func(name string, dirs ...string) string {
		for _, dir := range dirs {
			if p := filepath.Join(dir, name); isProgram(p) {
				return p
			}
		}
		p, _ := exec.LookPath(name) // empty if there is none
		return p
	}
	const scripts = "/usr/lib/rabbitmq/bin"
	b := &rabbitBinaries{server: find("rabbitmq-server", scripts), control: find("rabbitmqctl", scripts), epmd: find("epmd")}
	if b.server == "" || b.control == "" || b.epmd == "" {
		return nil
	}
	return b
}

// installRabbitMQ installs Debian's package rabbitmq-server, without starting the service that comes with it. One process
// of the machine does it at a time; the others wait and find the programs.
func installRabbitMQ(ctx context.Context) error {
	const missing = "%w: no RabbitMQ server on this machine (looked under /usr/lib/rabbitmq/bin and in PATH), and %s; install the package rabbitmq-server"
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
	if lookForRabbitMQ() != nil {
		return nil // another process was faster
	}
	allow, err := denyServices()
	if err != nil {
		return err
	}
	defer allow()
	for _, args := range [][]string{
		{"-o", "DPkg::Lock::Timeout=300", "update"},
		{"-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends", "rabbitmq-server"},
	} {
		cmd := exec.CommandContext(ctx, apt, args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf(missing+"\napt-get said: %s", ErrUnavailable, fmt.Sprintf("apt-get %q failed (%v)", args, err), tail(out))
		}
	}
	return nil
}
