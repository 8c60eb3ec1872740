package interop

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/sqs"
)

// queues is a transport with a topic on an emulator, and the queue of the group "service".
func queues(t *testing.T, kind servers.Emulator) (broker *sqs.Transport, endpoint, topic, queue string) {
	t.Helper()
	endpoint = servers.AWS(t, kind).URL()
	topic = "interop-" + strings.ToLower(sixfold.NewID()[24:])
	group := bus.Subscription{Topics: []string{topic}, Group: "service"}
	broker, err := sqs.New(t.Context(), &sqs.Options{Region: "eu-central-1", Endpoint: endpoint, Credentials: credentials.NewStaticCredentialsProvider("interop", "interop", ""), LongPoll: time.Second, Groups: []bus.Subscription{group}})
	must(t, err)
	t.Cleanup(func() { broker.Close(context.Background()) })
	must(t, broker.DeclareGroups(t.Context(), group))
	parts, err := broker.Describe(nil, group)
	must(t, err)
	for _, p := range parts.Parts() {
		if q, ok := p.(sqs.Queue); ok {
			queue = q.Name
		}
	}
	return broker, endpoint, topic, queue
}

// possible are those trips that SQS can carry: it has ten attributes at most, none of them empty, and bodies of text that are never empty.
func possible(all []trip) []trip {
	return slices.DeleteFunc(all, func(tr trip) bool {
		delete(tr.wish.Headers, "empty")
		delete(tr.want.Headers, "empty")
		return slices.Contains([]string{"binary with all attributes", "binary bytes", "no body"}, tr.name)
	})
}

func TestFromNodeThroughSQS(t *testing.T) {
	for _, kind := range []servers.Emulator{servers.Fauxqs, servers.Moto} {
		t.Run(string(kind), func(t *testing.T) {
			broker, endpoint, topic, queue := queues(t, kind)
			got := arrivals(t, broker, topic)
			all := possible(append(trips(), raws("ce-")...))
			if kind == servers.Fauxqs { // which refuses bodies with characters beyond the first 65,536, that AWS takes
				all = slices.DeleteFunc(all, func(tr trip) bool { return strings.HasSuffix(tr.name, "non-ASCII") })
			}
			wishes := make([]wish, len(all))
			for i := range all {
				wishes[i] = all[i].wish
			}
			node(t).send(t, "sqs", wishes, endpoint, queue)
			compare(t, got, all)
		})
	}
}

// What a service sends is structured, whose headers are attributes of the event, or packed in one.
func TestToNodeThroughSQS(t *testing.T) {
	for _, kind := range []servers.Emulator{servers.Fauxqs, servers.Moto} {
		t.Run(string(kind), func(t *testing.T) {
			broker, endpoint, topic, queue := queues(t, kind)
			next := node(t).receive(t, "sqs", endpoint, queue, fmt.Sprint(len(outgoing())))
			publish(t, broker, topic)
			checkAll(t, func() seen {
				s := next()
				if got := s.Headers["content-type"]; got != "application/cloudevents+json" {
					t.Errorf("the attribute content-type is %q", got)
				}
				for name, v := range s.Attributes {
					if text, ok := v.(string); ok {
						s.Headers[name] = text
					}
				}
				packed, err := url.ParseQuery(s.Headers["sixfoldheaders"])
				must(t, err)
				for name := range packed {
					s.Headers[name] = packed.Get(name)
				}
				return s
			}, false)
		})
	}
}
