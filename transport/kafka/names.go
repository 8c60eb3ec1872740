package kafka

import (
	"fmt"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// maxTopic is the longest name of a topic in bytes.
const maxTopic = 249

// checkTopic says what is wrong with a topic as a name at Kafka's, which leaves room for that of its dead letters.
func checkTopic(topic string) error {
	if err := sixfold.CheckTopic(topic); err != nil {
		return err
	}
	most := maxTopic
	if !isDead(topic) {
		most -= len(bus.DeadSuffix)
	}
	switch {
	case topic == "." || topic == "..":
		return fmt.Errorf("topic %s: %w: Kafka does not allow it; use letters, digits, dots, dashes and underscores", driver.Quote(topic), sixfold.ErrInvalid)
	case len(topic) > most:
		return fmt.Errorf("topic %s: %w: it has %d bytes, the limit is %d; shorten it", driver.Quote(topic), sixfold.ErrInvalid, len(topic), most)
	}
	for i := 0; i < len(topic); i++ {
		c := topic[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' {
			continue
		}
		return fmt.Errorf("topic %s: %w: Kafka does not allow its byte %d; use letters, digits, dots, dashes and underscores", driver.Quote(topic), sixfold.ErrInvalid, i+1)
	}
	return nil
}

func isDead(topic string) bool {
	n := len(topic) - len(bus.DeadSuffix)
	return n > 0 && topic[n:] == bus.DeadSuffix
}
