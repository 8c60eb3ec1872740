package servers_test

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold/itest/servers"
)

// stream connects and returns a stream of one subject, "x", that keeps its messages in files.
func stream(t *testing.T, address string) (jetstream.JetStream, jetstream.Stream) {
	t.Helper()
	nc, err := nats.Connect(address, nats.MaxReconnects(0), nats.Timeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(time.Minute)) // writes are synced, on a disk that others use too
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "X", Subjects: []string{"x"}})
	if err != nil {
		t.Fatal(err)
	}
	return js, s
}

func publish(t *testing.T, address string) {
	t.Helper()
	js, _ := stream(t, address)
	if _, err := js.Publish(t.Context(), "x", []byte("body")); err != nil {
		t.Fatal(err)
	}
}

func wantMessages(t *testing.T, address string, want uint64) {
	t.Helper()
	_, s := stream(t, address)
	info, err := s.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.State.Msgs != want {
		t.Errorf("the stream has %d messages, want %d", info.State.Msgs, want)
	}
}

func TestNATSKeepsPortAndMessagesOverARestart(t *testing.T) {
	n := servers.NATS(t, nil)
	address := n.URL()
	publish(t, address)
	n.Restart(t)
	if n.URL() != address {
		t.Errorf("the address went from %s to %s", address, n.URL())
	}
	wantMessages(t, address, 1)
}

func TestNATSProcessKeepsPortAndMessagesWhenKilled(t *testing.T) {
	n := servers.NATSProcess(t, &servers.NATSOptions{SyncAlways: true})
	address, pid := n.URL(), n.Pid()
	publish(t, address)
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	if alive(pid) || n.Pid() != 0 {
		t.Fatalf("process %d is left", pid)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, address)
	n.Restart(t)
	if n.URL() != address {
		t.Errorf("the address went from %s to %s", address, n.URL())
	}
	wantMessages(t, address, 2)
}

func TestNATSSyncAlwaysReachesTheServer(t *testing.T) {
	for _, always := range []bool{false, true} {
		n := servers.NATS(t, &servers.NATSOptions{SyncAlways: always})
		v, err := n.Server().Jsz(nil)
		if err != nil {
			t.Fatal(err)
		}
		if v.Config.SyncAlways != always {
			t.Errorf("sync always is %t, want %t (interval %s)", v.Config.SyncAlways, always, v.Config.SyncInterval)
		}
	}
}

func TestNATSStartSaysThatThePortIsTaken(t *testing.T) {
	// With a limit, since a taken port is tried again for a while.
	n := servers.NATS(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := servers.StartNATS(ctx, &servers.NATSOptions{Port: portOf(t, n.URL())})
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("a second server on one port gives: %v", err)
	}
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
