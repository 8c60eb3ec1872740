package rabbitmq

import (
	"maps"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
)

// What other clients send as numbers, booleans and times are attributes all the same; what RabbitMQ counts in headers is not.
func TestNativeAttributes(t *testing.T) {
	at := time.Date(2026, 2, 3, 12, 30, 0, 0, time.UTC)
	for _, prefix := range []string{"cloudEvents:", "cloudEvents_", "ce-"} {
		for name, when := range map[string]any{"a time": at, "milliseconds": at.UnixMilli(), "text": "2026-02-03T12:30:00Z"} {
			d := amqp.Delivery{Body: []byte("x"), Headers: amqp.Table{prefix + "specversion": "1.0", prefix + "id": "1", prefix + "source": "/s", prefix + "type": "t", prefix + "time": when,
				prefix + "tries": int32(3), prefix + "small": int8(-1), prefix + "byte": uint8(200), prefix + "urgent": true, prefix + "list": []any{"a"},
				"x-delivery-count": int64(4), "x-death": []any{amqp.Table{}}, "mine": int64(5)}}
			var env sixfold.Envelope
			if err := decode(cloudevents.AMQP(), &d, &env); err != nil {
				t.Fatalf("%s, %s: %v", prefix, name, err)
			}
			want := map[string]string{"tries": "3", "small": "-1", "byte": "200", "urgent": "true"}
			if !env.Time.Equal(at) || !maps.Equal(env.Headers, want) || env.ID != "1" {
				t.Errorf("%s, %s: time %v, headers %v", prefix, name, env.Time, env.Headers)
			}
		}
	}
}
