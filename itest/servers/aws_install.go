package servers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
)

// Versions of the emulators. Another one has a directory of its own in the cache.
const (
	fauxqsVersion = "1.9.2"
	motoVersion   = "5.2.5"
)

// fauxqsScript starts fauxqs, which would listen on every address, on the loopback one alone.
const fauxqsScript = `
import net from "node:net";
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (o, ...rest) {
	if (o && typeof o === "object") o.host = "127.0.0.1";
	return listen.call(this, o, ...rest);
};
const { startFauxqs } = await import(process.argv[1]);
await startFauxqs({ port: Number(process.argv[2]), logger: false });
`

// awsBinary says how an emulator is started.
type awsBinary struct {
	program string
	args    func(port int) []string
	env     []string
}

// findAWS finds an emulator in the cache, and installs it there if it is missing. One process of the machine does it at a
// time; the others wait and find it.
func findAWS(ctx context.Context, kind Emulator) (*awsBinary, error) {
	if runtime.GOOS == "windows" {
		return nil, fmt.Errorf("%w: an emulator of AWS needs a Unix here; use WSL or a container", ErrUnavailable)
	}
	switch kind {
	case Fauxqs:
		return findFauxqs(ctx)
	case Moto:
		return findMoto(ctx)
	}
	return nil, fmt.Errorf("servers: there is no emulator %q", kind)
}

func findFauxqs(ctx context.Context) (*awsBinary, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, fmt.Errorf("%w: fauxqs needs node, version 20 or newer, in PATH; install Node.js", ErrUnavailable)
	}
	dir, err := installAWS(ctx, "fauxqs-"+fauxqsVersion, "npm", func(npm, dir string) *exec.Cmd {
		return exec.CommandContext(ctx, npm, "install", "--prefix", dir, "--no-audit", "--no-fund", "--ignore-scripts", "fauxqs@"+fauxqsVersion)
	})
	if err != nil {
		return nil, err
	}
	module := filepath.Join(dir, "node_modules", "fauxqs", "dist", "app.js")
	return &awsBinary{program: node, args: func(port int) []string {
		return []string{"--input-type=module", "--eval", fauxqsScript, module, strconv.Itoa(port)}
	}}, nil
}

func findMoto(ctx context.Context) (*awsBinary, error) {
	python, err := exec.LookPath("python3")
	for _, name := range []string{"python3.13", "python3.12", "python3.11", "python3.10"} { // before one that may be too old
		if newer, nerr := exec.LookPath(name); nerr == nil && exec.CommandContext(ctx, newer, "-m", "pip", "--version").Run() == nil {
			python, err = newer, nil
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: moto needs python3, version 3.10 or newer, in PATH; install Python", ErrUnavailable)
	}
	dir, err := installAWS(ctx, "moto-"+motoVersion+"-"+filepath.Base(python), python, func(python, dir string) *exec.Cmd {
		return exec.CommandContext(ctx, python, "-m", "pip", "install", "--quiet", "--target", dir, "moto=="+motoVersion, "flask", "flask-cors")
	})
	if err != nil {
		return nil, err
	}
	return &awsBinary{program: python, env: []string{"PYTHONPATH=" + dir, "PYTHONDONTWRITEBYTECODE="}, args: func(port int) []string {
		return []string{"-m", "moto.server", "-H", "127.0.0.1", "-p", strconv.Itoa(port)}
	}}, nil
}

// installAWS answers the directory in the cache that has a package, which is installed there by its usual tool.
func installAWS(ctx context.Context, name, tool string, command func(tool, dir string) *exec.Cmd) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	unlock, err := lockFile(filepath.Join(cache, "aws.lock"))
	if err != nil {
		return "", fmt.Errorf("servers: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil // another process was faster
	}
	const missing = "%w: %s is not on this machine (looked in %s), and %s"
	program, err := exec.LookPath(tool)
	if err != nil {
		return "", fmt.Errorf(missing, ErrUnavailable, name, dir, "there is no "+filepath.Base(tool)+" to install it with")
	}
	half, err := os.MkdirTemp(cache, name+".part-")
	if err != nil {
		return "", fmt.Errorf("servers: %w", err)
	}
	defer os.RemoveAll(half)
	cmd := command(program, half)
	cmd.Dir = half
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf(missing+"\nit said: %s", ErrUnavailable, name, dir, fmt.Sprintf("%s could not install it (%v)", filepath.Base(tool), err), tail(out))
	}
	if err := os.Rename(half, dir); err != nil {
		return "", fmt.Errorf("servers: keep %s: %w", name, err)
	}
	return dir, nil
}
