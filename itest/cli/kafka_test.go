package cli

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
)

// The bus commands on Kafka: topics are made only when that is asked for, messages are shown without moving a group, and
// nothing is purged.
func TestKafka(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := newRunner(t, "SIXFOLD_BROKER=kafka://"+c.ListenAddrs()[0])
	for _, step := range []struct {
		args string
		code int
		want string
	}{
		{"bus peek orders", 1, "orders"},
		{"bus publish orders --type orders.placed --key k --data one --content-type text/plain", 1, "no topic"},
		{"bus declare orders", 0, "12 partitions"},
		{"bus declare orders", 0, "there"},
		{"bus publish orders --type orders.placed --key k --data one --content-type text/plain", 0, ""},
		{"bus publish orders --type orders.placed --key k --data two --content-type text/plain", 0, ""},
		{"bus peek orders", 0, "2 of 2"},
		{"bus peek orders --limit 1", 0, "1 of 2"},
		{"bus purge orders --yes", 4, "retention.ms"},
		{"bus peek orders", 0, "orders.placed"},
	} {
		if got := r.run(strings.Fields(step.args)...); got.code != step.code || !strings.Contains(got.all(), step.want) {
			t.Errorf("%s: code %d, %q", step.args, got.code, got.all())
		}
	}
	for url, want := range map[string]string{"kafka://user:hunter2@127.0.0.1:1": "cannot be reached", "kafka://user:hunter2@kafka.example:9092": "unencrypted"} {
		got := r.with("SIXFOLD_BROKER="+url).run("bus", "peek", "orders")
		if got.code == 0 || !strings.Contains(got.err, want) || strings.Contains(got.all(), "hunter2") {
			t.Errorf("%s: code %d, %q", url, got.code, got.all())
		}
	}
}
