package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A KafkaServer is a private Apache Kafka, broker and controller in one process (KRaft), with a directory of its own. Its
// methods may be called by several goroutines.
type KafkaServer struct {
	bin    *kafkaBinaries
	dir    string // holds everything; removed by Close
	config []string
	guard  *watchdog

	mu                   sync.Mutex // held while it starts or stops
	server               *process
	port, controllerPort int
	closed               bool
}

// StartKafka starts a broker and returns once it takes connections, which takes about five seconds. Its jars come from a
// Maven repository at the first time ([MavenEnv]). More lines of server.properties may be given. The context limits the
// start only. Whoever starts one must close it.
func StartKafka(ctx context.Context, config ...string) (*KafkaServer, error) {
	bin, err := findKafka(ctx)
	if err != nil {
		return nil, err
	}
	k := &KafkaServer{bin: bin, config: config}
	if k.dir, err = os.MkdirTemp("", "sixfold-kafka-"); err != nil {
		return nil, fmt.Errorf("servers: %w", err)
	}
	if k.guard, err = watch(k.path("pid"), k.dir); err == nil {
		err = k.format(ctx)
	}
	if err == nil {
		err = k.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// format draws ports, writes the configuration, and makes the directory of the log.
func (k *KafkaServer) format(ctx context.Context) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	k.port, k.controllerPort = ports[0], ports[1]
	lines := append([]string{"process.roles=broker,controller", "node.id=1", "controller.quorum.voters=1@" + loopback(k.controllerPort),
		"listeners=PLAINTEXT://" + loopback(k.port) + ",CONTROLLER://" + loopback(k.controllerPort), "advertised.listeners=PLAINTEXT://" + loopback(k.port),
		"controller.listener.names=CONTROLLER", "log.dirs=" + k.path("data"), "offsets.topic.replication.factor=1", "offsets.topic.num.partitions=4",
		"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1", "group.initial.rebalance.delay.ms=0", "group.min.session.timeout.ms=500",
		"group.consumer.min.session.timeout.ms=500", "group.consumer.session.timeout.ms=1500", "group.consumer.min.heartbeat.interval.ms=100", "group.consumer.heartbeat.interval.ms=200",
		"auto.create.topics.enable=false", "num.network.threads=2", "num.io.threads=2", "log.cleaner.dedupe.buffer.size=2097152"}, k.config...)
	if err := os.WriteFile(k.path("server.properties"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	// Log4j writes what goes wrong to standard error.
	if out, err := k.Tool(ctx, "kafka.tools.StorageTool", "format", "--cluster-id", "c2l4Zm9sZC10ZXN0cy0wMA", "--config", k.path("server.properties")); err != nil {
		return fmt.Errorf("servers: format the storage of Kafka: %w: %s", err, tail([]byte(out)))
	}
	return nil
}

// command is Java with Kafka's class path.
func (k *KafkaServer) command(ctx context.Context, heap string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, k.bin.java, append([]string{"-Xmx" + heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", k.bin.classPath}, args...)...)
	cmd.Dir = k.dir
	return cmd
}

// Tool runs one of Kafka's own command-line tools by its class, and answers what it says.
func (k *KafkaServer) Tool(ctx context.Context, class string, args ...string) (string, error) {
	out, err := k.command(ctx, "256m", append([]string{class}, args...)...).CombinedOutput()
	return string(out), err
}

// Start starts a broker that was stopped, killed or has crashed, on the port it had, and returns once it takes connections.
// It does nothing if it runs.
func (k *KafkaServer) Start(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return errors.New("servers: start Kafka: it was closed; start another")
	}
	if k.server.running() {
		return nil
	}
	log, err := os.OpenFile(k.path("log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	defer log.Close()
	cmd := k.command(context.Background(), "512m", "kafka.Kafka", k.path("server.properties"))
	cmd.Stdout, cmd.Stderr = log, log
	p, err := startProcess(cmd, os.Kill)
	if err != nil {
		return fmt.Errorf("servers: start Kafka: %w", err)
	}
	if err := os.WriteFile(k.path("pid"), []byte(strconv.Itoa(p.pid())+"\n"), 0o600); err != nil {
		return errors.Join(err, p.stop(os.Kill, time.Minute))
	}
	for {
		conn, err := net.DialTimeout("tcp", loopback(k.port), time.Second)
		if err == nil {
			conn.Close()
			k.server = p
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("servers: start Kafka: it ended at once; its log says:\n%s", k.Log())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("servers: start Kafka: %w; its log says:\n%s", ctx.Err(), k.Log()), p.stop(os.Kill, time.Minute))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Kill kills the broker (SIGKILL) and returns once it has ended. It does nothing if it does not run.
func (k *KafkaServer) Kill() error { return k.end(os.Kill) }

// Stop ends the broker in order (SIGTERM) and returns once it has ended. It does nothing if it does not run.
func (k *KafkaServer) Stop() error { return k.end(sigTerminate) }

func (k *KafkaServer) end(sig os.Signal) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.server.stop(sig, time.Minute); err != nil {
		return fmt.Errorf("servers: stop Kafka: %w", err)
	}
	return nil
}

// Close ends the broker, and removes what it made. It may be called more than once.
func (k *KafkaServer) Close() error {
	err := k.Kill()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return err
	}
	k.closed = true
	os.Remove(k.path("pid")) // the number may be another process's by now
	if k.guard != nil {
		k.guard.release()
	}
	return errors.Join(err, os.RemoveAll(k.dir))
}

// URL is the address for the driver.
func (k *KafkaServer) URL() string { return "kafka://" + k.Address() }

// Address is host:port. It stays the same over restarts.
func (k *KafkaServer) Address() string { return loopback(k.port) }

// Log returns the end of the log of the broker's run.
func (k *KafkaServer) Log() string {
	text, err := os.ReadFile(k.path("log"))
	if err != nil {
		return "(no log: " + err.Error() + ")"
	}
	return tail(text)
}

func (k *KafkaServer) path(name string) string { return filepath.Join(k.dir, name) }
