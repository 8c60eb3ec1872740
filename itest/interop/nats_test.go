package interop

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/nats"
)

// jet is a transport with a topic of the test's own.
func jet(t *testing.T) (broker *nats.Transport, url, topic string) {
	t.Helper()
	url = servers.NATS(t, nil).URL()
	topic = "interop-" + strings.ToLower(sixfold.NewID()[24:])
	broker, err := nats.New(url, &nats.Options{Topics: []string{topic}})
	must(t, err)
	t.Cleanup(func() { broker.Close(context.Background()) })
	s, err := broker.Open(t.Context()) // which declares the topic
	must(t, err)
	must(t, s.Close(t.Context()))
	return broker, url, topic
}

// Any lane will do for those who do not care about the order of keys.
func fromNATS(t *testing.T, p *peer) {
	t.Helper()
	broker, url, topic := jet(t)
	got := arrivals(t, broker, topic)
	all := append(trips(), raws("ce-")...)
	wishes := make([]wish, len(all))
	for i := range all {
		wishes[i] = all[i].wish
	}
	p.send(t, "nats", wishes, url, topic+".0")
	compare(t, got, all)
}

func toNATS(t *testing.T, p *peer, encoded bool) {
	t.Helper()
	broker, url, topic := jet(t)
	next := p.receive(t, "nats", url, topic, fmt.Sprint(len(outgoing())))
	publish(t, broker, topic)
	checkAll(t, next, encoded)

	_, url, topic = jet(t)
	next = p.receive(t, "nats", url, topic, fmt.Sprint(len(outgoing())))
	nc, err := natsgo.Connect(url, natsgo.Timeout(time.Minute))
	must(t, err)
	defer nc.Close()
	for _, env := range outgoing() {
		text, err := cloudevents.Marshal(env)
		must(t, err)
		m := natsgo.NewMsg(topic + ".0")
		m.Header.Set("content-type", cloudevents.ContentType)
		for k, v := range env.Headers { // which the check looks for beside the event
			if ascii(v) {
				m.Header[k] = []string{v}
			}
		}
		m.Data = text
		must(t, nc.PublishMsg(m))
	}
	must(t, nc.Flush())
	checkAll(t, next, false)
}

func TestFromNodeThroughNATS(t *testing.T) { fromNATS(t, node(t)) }

// The SDK for JavaScript leaves percent-encoded attributes as they are.
func TestToNodeThroughNATS(t *testing.T) { toNATS(t, node(t), true) }

func TestFromPythonThroughNATS(t *testing.T) { fromNATS(t, python(t)) }

func TestToPythonThroughNATS(t *testing.T) { toNATS(t, python(t), false) }
