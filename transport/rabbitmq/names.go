package rabbitmq

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// maxShort is the length of AMQP's short strings in bytes: names, routing keys, and all properties that are texts.
const maxShort = 255

// checkTopic says what is wrong with a topic as the name of an exchange, which leaves room for that of its dead letters.
func checkTopic(topic string) error {
	if err := sixfold.CheckTopic(topic); err != nil {
		return err
	}
	if strings.HasPrefix(topic, "amq.") {
		return fmt.Errorf("topic %s: %w: the prefix \"amq.\" is RabbitMQ's own; use another", driver.Quote(topic), sixfold.ErrInvalid)
	}
	if most := maxShort - len(bus.DeadSuffix); len(topic) > most && !strings.HasSuffix(topic, bus.DeadSuffix) {
		return fmt.Errorf("topic %s: %w: it has %d bytes, the limit is %d; shorten it", driver.Quote(topic), sixfold.ErrInvalid, len(topic), most)
	}
	return nil
}

// queueName is that of a group's queue for a topic. What could be taken for another, or is too long, gets a hash.
func queueName(topic, group string) string {
	name := group + "@" + topic
	if !strings.Contains(group, "@") && len(name) <= maxShort && !strings.HasPrefix(name, "amq.") && plain(group) {
		return name
	}
	h := fnv.New64a()
	h.Write([]byte(group + "\x00" + topic))
	return fmt.Sprintf("sixfold-%.100s@%.100s-%016x", token(group), topic, h.Sum64())
}

func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// token replaces what is not a letter, a digit, a dash or a dot.
func token(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' {
			continue
		}
		b[i] = '_'
	}
	return string(b)
}
