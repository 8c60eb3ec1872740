package sqs

import (
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
)

// binding reads binary mode as others may write it. SQS has no binding of CloudEvents' own: attributes are told by the
// prefixes that those of HTTP, Kafka and AMQP have.
var binding = sync.OnceValues(func() (*cloudevents.Binding, error) {
	return cloudevents.NewBinding("ce-", &cloudevents.BindingOptions{ContentType: attrName, AlsoRead: []string{"ce_", "cloudEvents_"}})
})

// Read fills an envelope from a message of SQS as a Source does, for who receives it by other means: a function of Lambda, the
// client of AWS. It was received with all message attributes (MessageAttributeNames "All"). With an error, which
// wraps sixfold.ErrInvalid, the message is no event, and the envelope has its text as the body.
func Read(env *sixfold.Envelope, m *types.Message) error {
	var d bus.Delivery
	read(&d, m)
	*env = d.Envelope
	return d.Damaged
}

// read fills a delivery from a message: a structured event, also where no attribute says so, or one in binary mode.
func read(d *bus.Delivery, m *types.Message) {
	count, _ := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	d.Redelivered = count > 1
	text := value(m.Body)
	body := []byte(text)
	attributes := texts(m.MessageAttributes)
	if len(attributes) == 0 && strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{") {
		attributes[attrName] = cloudevents.ContentType // nobody said what it is
	}
	b, err := binding()
	if err == nil {
		err = b.Read(&d.Envelope, func(yield func(string, string) bool) {
			for k, v := range attributes {
				if !yield(k, v) {
					return
				}
			}
		}, body)
	}
	if err != nil {
		d.Damaged = err
		d.Body = body
	}
}

// texts are the attributes that are texts or numbers.
func texts(attributes map[string]types.MessageAttributeValue) map[string]string {
	out := make(map[string]string, len(attributes)+1)
	for k, v := range attributes {
		if v.StringValue != nil {
			out[k] = *v.StringValue
		}
	}
	return out
}
