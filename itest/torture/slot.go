package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// A slot is a place for a process of one role. A process that was killed has a successor at once, as under any supervisor.
type slot struct {
	run  *run
	role string
	name string

	mu       sync.Mutex
	count    int // incarnations so far
	live     *incarnation
	closed   bool          // no more successors
	finished chan struct{} // publisher, redriver: it has ended by itself
	history  []*incarnation
}

// incarnation is one process of a slot.
type incarnation struct {
	slot   string
	number int
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	ended  chan struct{}

	// Under the slot's mu:
	stopping bool // asked to end in order
	frozen   bool // at any time
	fenced   bool // at any time, by its journal
	state    *os.ProcessState
}

func (i *incarnation) name() string { return fmt.Sprintf("%s-%03d", i.slot, i.number) }

// clean reports, of an incarnation that has ended, whether it was asked to and ended well.
func (i *incarnation) clean() bool { return i.stopping && i.state != nil && i.state.Success() }

// unsure reports, of an incarnation that has ended, whether it was asked to, and says that something is in doubt for good reason.
func (i *incarnation) unsure() bool {
	return i.stopping && i.state != nil && i.state.ExitCode() == exitInDoubt
}

func (s *slot) path(kind string, number int, ext string) string {
	return filepath.Join(s.run.o.Dir, fmt.Sprintf("%s-%s-%03d.%s", kind, s.name, number, ext))
}

// start starts the next incarnation. s is locked.
func (s *slot) start() error {
	s.count++
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("torture: find this program: %w", err)
	}
	config, err := json.Marshal(Config{Role: s.role, Slot: s.name, Incarnation: s.count, Dir: s.run.o.Dir, DSN: s.run.dsnOf(s.role), BrokerURL: s.run.brokerURL(), Options: s.run.o})
	if err != nil {
		return fmt.Errorf("torture: encode a role: %w", err)
	}
	log, err := os.Create(s.path("log", s.count, "txt"))
	if err != nil {
		return fmt.Errorf("torture: open a log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), roleEnv+"="+string(config), "SIXFOLD_PLANT="+string(s.run.o.Plant))
	cmd.Stdout, cmd.Stderr = log, log
	apart(cmd)
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("torture: start %s: %w", s.name, err)
	}
	i := &incarnation{slot: s.name, number: s.count, cmd: cmd, stdin: stdin, ended: make(chan struct{})}
	s.live, s.history = i, append(s.history, i)
	s.run.waiting.Go(func() { s.watch(i) })
	if s.role == "publisher" {
		fmt.Fprintf(stdin, "until %d\n", s.run.until.Load())
	}
	return nil
}

// watch waits for the end of an incarnation and sees to what follows.
func (s *slot) watch(i *incarnation) {
	_ = i.cmd.Wait() // its state says more
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(i.ended)
	i.state = i.cmd.ProcessState
	s.live = nil
	switch {
	case wasKilled(i.state):
		if !i.stopping {
			s.run.kills.Add(1)
		}
	case i.unsure():
	case !i.state.Success():
		s.run.violate(Exits, "%s ended with %v; the end of its log:\n%s", i.name(), i.state, s.tail(i))
		if !i.stopping {
			s.run.giveUp(fmt.Errorf("torture: %s ended with %v", i.name(), i.state))
			return
		}
	case (s.role == "publisher" || s.role == "redriver") && !i.stopping:
		close(s.finished)
		return
	case !i.stopping:
		s.run.violate(Exits, "%s ended by itself", i.name())
	}
	if s.closed {
		return
	}
	if err := s.start(); err != nil {
		s.run.giveUp(err)
	}
}

func (s *slot) tail(i *incarnation) string {
	text, err := os.ReadFile(s.path("log", i.number, "txt"))
	if err != nil {
		return err.Error()
	}
	const most = 3000
	return string(bytes.TrimSpace(text[max(0, len(text)-most):]))
}

var errNobody = errors.New("torture: the process is not running just now")

// signal sends sig to the live incarnation and answers it.
func (s *slot) signal(sig os.Signal) (*incarnation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		return nil, errNobody
	}
	i := s.live
	if sig == sigFreeze {
		i.frozen = true
	}
	if err := i.cmd.Process.Signal(sig); err != nil {
		return nil, fmt.Errorf("torture: signal %s: %w", i.name(), err)
	}
	return i, nil
}

// terminate asks the live incarnation to end in order, and answers it. It waits until the process is up, which its journal
// of events says: before that nobody there obeys the request, and it would just die of it.
func (s *slot) terminate() (*incarnation, error) {
	s.mu.Lock()
	i := s.live
	s.mu.Unlock()
	if i == nil {
		return nil, errNobody
	}
	up := func() bool {
		_, err := os.Stat(s.path("events", i.number, "jsonl"))
		return err == nil
	}
	for end := time.Now().Add(patience); !up() && time.Now().Before(end); {
		select {
		case <-i.ended:
			return nil, errNobody
		case <-time.After(2 * time.Millisecond):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live != i { // it died, and its successor may not be up
		return nil, errNobody
	}
	i.stopping = true
	if err := i.cmd.Process.Signal(sigTerminate); err != nil {
		return nil, fmt.Errorf("torture: signal %s: %w", i.name(), err)
	}
	return i, nil
}

// tell sends a command to the live incarnation.
func (s *slot) tell(command string) (*incarnation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		return nil, errNobody
	}
	_, err := fmt.Fprintln(s.live.stdin, command)
	return s.live, err
}

// end asks the live incarnation to end in order, for good, and waits for it.
func (s *slot) end(limit time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	i, err := s.terminate()
	if err != nil {
		return
	}
	select {
	case <-i.ended:
	case <-time.After(limit):
		s.run.violate(Exits, "%s did not end within %v of its request; the end of its log:\n%s", i.name(), limit, s.tail(i))
		s.kill()
		<-i.ended
	}
}

// kill ends the slot at once and for good.
func (s *slot) kill() {
	s.mu.Lock()
	s.closed = true
	i := s.live
	if i != nil {
		i.stopping = true
	}
	s.mu.Unlock()
	if i != nil {
		_, _ = s.signal(sigKill)
	}
}
