package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The bus commands on Kafka: topics are made only when that is asked for, messages are shown without moving a group, and
// nothing is purged.
func TestKafka(t *testing.T) {
	r := newRunner(t, "SIXFOLD_BROKER="+fakeKafka(t))
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
	file := filepath.Join(t.TempDir(), "topics.toml")
	for _, step := range []struct {
		text, args string
		code       int
		want       string
	}{
		{"[[topic]]\nname = \"bills\"\nlanes = 3\n[[kafka.topic]]\nname = \"log\"\npartitions = 2\nconfig = { \"retention.ms\" = \"3600000\" }\n", "--dry-run", 0, "would be made"},
		{"", "", 0, "made"},
		{"", "--dry-run", 0, "there"},
		{"[[topic]]\nname = \"bills\"\nlanes = 4\n", "--dry-run", 1, "1 of 2 parts differ"},
		{"[[kafka.topic]]\nname = \"log\"\npartitions = -1\n", "", 2, "-1 partitions"},
		{"[[topic]]\nname = \"bills\"\ndedup = \"1m\"\n", "", 2, "which Kafka has not"},
	} {
		if step.text != "" {
			if err := os.WriteFile(file, []byte(step.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := r.run(append(strings.Fields("bus declare --topology "+file), strings.Fields(step.args)...)...); got.code != step.code || !strings.Contains(got.all(), step.want) {
			t.Errorf("%q %s: code %d, %q", step.text, step.args, got.code, got.all())
		}
	}
	for url, want := range map[string]string{"kafka://user:hunter2@127.0.0.1:1": "cannot be reached", "kafka://user:hunter2@kafka.example:9092": "unencrypted"} {
		got := r.with("SIXFOLD_BROKER="+url).run("bus", "peek", "orders")
		if got.code == 0 || !strings.Contains(got.err, want) || strings.Contains(got.all(), "hunter2") {
			t.Errorf("%s: code %d, %q", url, got.code, got.all())
		}
	}
}
