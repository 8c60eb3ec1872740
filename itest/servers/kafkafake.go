package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaChildEnv marks a process of ours that is to be fake Kafka brokers; its value is their ports and a directory.
const kafkaChildEnv = "SIXFOLD_SERVERS_KAFKA"

// kafkaFakes is how many brokers a fake cluster has.
const kafkaFakes = 3

// runKafkaChild is the child: fake brokers that keep what they have in a directory, until SIGTERM.
func runKafkaChild(text string) error {
	list, dir, _ := strings.Cut(text, ":")
	var ports []int
	for p := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(p)
		if err != nil {
			return fmt.Errorf("servers: %s has no ports", kafkaChildEnv)
		}
		ports = append(ports, n)
	}
	terminate := make(chan os.Signal, 1)
	signal.Notify(terminate, sigTerminate, os.Interrupt)
	c, err := kfake.NewCluster(kfake.NumBrokers(len(ports)), kfake.Ports(ports...), kfake.DataDir(dir), kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	(&coordinator{cluster: c, joining: make(map[string]joining), again: make(map[string]time.Time)}).control()
	fmt.Printf("ready on port %d\n", ports[0])
	<-terminate
	c.Close()
	return nil
}

// A coordinator has the fake one do for classic groups what Kafka does, and it does not. It lets sessions run out while their members wait
// for the others, and then never answers them: after two deaths in a rebalance all the living can wait for answers that do not come, and
// begin it anew before it ends, for a minute and more. So sessions outlast a rebalance; who is dead is noticed by the one that its
// successor begins. And it gives who died while it waited no session at all, so that its partitions are nobody's until the next death:
// so who has joined, and never asks for its share, is found out by another rebalance.
type coordinator struct {
	cluster *kfake.Cluster

	mu      sync.Mutex
	joining map[string]joining   // by member
	again   map[string]time.Time // groups whose members are told to join, until then
}

// joining is a member that has not asked for its share yet.
type joining struct {
	group string
	until time.Time // by then it has, if it lives
}

// againFor is long enough that every member asks in it whether all is well, the leader too.
const againFor = 2 * time.Second

func (k *coordinator) control() {
	k.on(kmsg.JoinGroup, func(req kmsg.Request) kmsg.Response {
		join := req.(*kmsg.JoinGroupRequest)
		join.SessionTimeoutMillis = max(join.SessionTimeoutMillis, 2*join.RebalanceTimeoutMillis)
		if join.MemberID != "" {
			k.joining[join.MemberID] = joining{join.Group, time.Now().Add(3 * time.Duration(join.RebalanceTimeoutMillis) * time.Millisecond)}
		}
		return nil
	})
	k.on(kmsg.SyncGroup, func(req kmsg.Request) kmsg.Response {
		delete(k.joining, req.(*kmsg.SyncGroupRequest).MemberID)
		return nil
	})
	k.on(kmsg.LeaveGroup, func(req kmsg.Request) kmsg.Response {
		leave := req.(*kmsg.LeaveGroupRequest)
		delete(k.joining, leave.MemberID)
		for _, m := range leave.Members {
			delete(k.joining, m.MemberID)
		}
		return nil
	})
	k.on(kmsg.Heartbeat, func(req kmsg.Request) kmsg.Response {
		group, now := req.(*kmsg.HeartbeatRequest).Group, time.Now()
		for id, j := range k.joining {
			if j.group == group && now.After(j.until) {
				delete(k.joining, id)
				k.again[group] = now.Add(againFor)
			}
		}
		if now.After(k.again[group]) {
			return nil
		}
		resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = kerr.RebalanceInProgress.Code
		return resp
	})
}

// on has the brokers ask do, before they answer a request, for the answer in place of theirs; nil: theirs.
func (k *coordinator) on(key kmsg.Key, do func(kmsg.Request) kmsg.Response) {
	k.cluster.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		k.cluster.KeepControl()
		k.mu.Lock()
		defer k.mu.Unlock()
		resp := do(req)
		return resp, nil, resp != nil
	})
}

// A KafkaFake is a cluster of fake Kafka brokers (kfake) in a child process, which can be killed and keeps its data. Its methods
// may be called by several goroutines.
type KafkaFake struct {
	mu     sync.Mutex // held while it starts or stops
	ports  []string
	dir    string // removed by Close
	guard  *watchdog
	server *process
}

// StartKafkaFake starts the running program once more, as fake brokers, and returns once they take connections. The program
// must call [Reexec] first in main, or [Main] in TestMain. Whoever starts it must close it.
func StartKafkaFake(ctx context.Context) (*KafkaFake, error) {
	k := &KafkaFake{}
	var err error
	if k.dir, err = os.MkdirTemp("", "sixfold-kfake-"); err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	k.guard, err = watch(k.path("pid"), k.dir)
	for try := 1; err == nil; try++ {
		if err = k.draw(); err != nil {
			break
		}
		if err = k.Start(ctx); err == nil {
			return k, nil
		}
		if try < 10 && strings.Contains(err.Error(), "address already in use") { // a port that was free is taken by now
			err = nil
		}
	}
	return nil, errors.Join(err, k.Close())
}

// draw draws the ports.
func (k *KafkaFake) draw() error {
	ports, err := freePorts(kafkaFakes)
	k.ports = nil
	for _, port := range ports {
		k.ports = append(k.ports, strconv.Itoa(port))
	}
	return err
}

// Start starts brokers that were stopped or killed, on the ports and with the files that they had. It does nothing if they run.
func (k *KafkaFake) Start(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.server.running() {
		return nil
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("servers: start fake Kafka brokers: %w", err)
	}
	log, err := os.Create(k.path("log"))
	if err != nil {
		return fmt.Errorf("servers: start fake Kafka brokers: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), kafkaChildEnv+"="+strings.Join(k.ports, ",")+":"+k.path("data"))
	cmd.Dir, cmd.Stdout, cmd.Stderr = k.dir, log, log
	p, err := startProcess(cmd, os.Kill)
	if err != nil {
		return fmt.Errorf("servers: start fake Kafka brokers: %w", err)
	}
	if err := os.WriteFile(k.path("pid"), []byte(strconv.Itoa(p.pid())+"\n"), 0o600); err != nil {
		return errors.Join(err, p.stop(os.Kill, time.Minute))
	}
	for {
		text, err := os.ReadFile(k.path("log"))
		if err == nil && ready.Match(text) {
			k.server = p
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("servers: start fake Kafka brokers: they ended at once (does the program call servers.Reexec first in main?); they say:\n%s", tail(text))
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("servers: start fake Kafka brokers: %w", ctx.Err()), p.stop(os.Kill, time.Minute))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// Stop ends the brokers in order (SIGTERM) and returns once they have ended.
func (k *KafkaFake) Stop() error { return k.end(sigTerminate) }

// Kill kills the brokers (SIGKILL) and returns once they have ended.
func (k *KafkaFake) Kill() error { return k.end(os.Kill) }

func (k *KafkaFake) end(sig os.Signal) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.server.stop(sig, 30*time.Second); err != nil {
		return fmt.Errorf("servers: stop fake Kafka brokers: %w", err)
	}
	return nil
}

// Close ends the brokers and removes what they made.
func (k *KafkaFake) Close() error {
	err := k.Kill()
	if k.guard != nil {
		os.Remove(k.path("pid")) // the number may be another process's by now
		k.guard.release()
	}
	return errors.Join(err, os.RemoveAll(k.dir))
}

// Pid returns the brokers' process id, or 0 if they do not run.
func (k *KafkaFake) Pid() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.server.running() {
		return 0
	}
	return k.server.pid()
}

// URL is the address for the driver, which stays the same over restarts.
func (k *KafkaFake) URL() string {
	var hosts []string
	for _, p := range k.ports {
		hosts = append(hosts, "127.0.0.1:"+p)
	}
	return "kafka://" + strings.Join(hosts, ",")
}

func (k *KafkaFake) path(name string) string { return filepath.Join(k.dir, name) }
