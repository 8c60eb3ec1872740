package servers

import (
	"fmt"
	"io"
	"os/exec"
)

// watchdogScript waits for the end of its input, which comes when the process that holds the other end closes it or dies
// in whatever way. Then it ends the server whose pid file is $1 and removes the directory $2. A server that is stopped
// (SIGSTOP) is woken, and one that does not end within ten seconds is killed.
const watchdogScript = `
while read -r _; do :; done
pid=$(head -n 1 "$1" 2>/dev/null) || pid=
if [ -n "$pid" ] && kill -QUIT "$pid" 2>/dev/null; then
	kill -CONT "$pid" 2>/dev/null
	n=0
	while [ $n -lt 100 ] && kill -0 "$pid" 2>/dev/null; do sleep 0.1; n=$((n+1)); done
	kill -KILL "$pid" 2>/dev/null
fi
rm -rf -- "$2"
`

// A watchdog is a small shell that outlives us for as long as it takes to clean up.
type watchdog struct {
	process *process
	leash   io.Closer // its standard input: closed by the kernel if we die
}

// watch starts a watchdog over the server whose process id is, or will be, the first line of pidFile.
func watch(pidFile, dir string) (*watchdog, error) {
	cmd := exec.Command("/bin/sh", "-c", watchdogScript, "sixfold-watchdog", pidFile, dir)
	cmd.Dir = "/"
	leash, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("servers: make the watchdog's pipe: %w", err)
	}
	p, err := startProcess(cmd, nil)
	if err != nil {
		return nil, fmt.Errorf("servers: start the watchdog: %w", err)
	}
	return &watchdog{process: p, leash: leash}, nil
}

// release lets the watchdog do its work at once, and waits for it.
func (w *watchdog) release() {
	_ = w.leash.Close()
	<-w.process.ended
}
