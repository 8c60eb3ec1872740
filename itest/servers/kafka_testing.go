package servers

import (
	"context"
	"errors"
	"testing"
)

// PrivateKafka starts an Apache Kafka for this test alone, and closes it when the test ends. Where its jars are neither in the
// cache nor to be had, t is skipped, with SIXFOLD_REQUIRE=1 too: no package system brings them, and a Maven repository is
// not reached from everywhere.
func PrivateKafka(t testing.TB, config ...string) *KafkaServer {
	t.Helper()
	long(t, "Kafka")
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	k, err := StartKafka(ctx, config...)
	if errors.Is(err, errNoJars) {
		t.Skipf("not run on a real Kafka, only on fake brokers: %v", err)
	}
	if err != nil {
		giveUp(t, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of Kafka ends with:\n%s", k.Log())
		}
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}
