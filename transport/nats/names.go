package nats

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/sixfold-go/sixfold"

	"github.com/sixfold-go/sixfold/bus/driver"
)

// checkTopic says what is wrong with a topic as the beginning of a subject.
func checkTopic(topic string) error {
	if err := sixfold.CheckTopic(topic); err != nil {
		return err
	}
	if topic[0] == '$' || topic[0] == '.' || topic[len(topic)-1] == '.' || strings.Contains(topic, "..") {
		return fmt.Errorf("topic %s: %w: it begins with '$', or has an empty part between dots; use one like \"orders.placed\"", driver.Quote(topic), sixfold.ErrInvalid)
	}
	return nil
}

// token makes a name of a stream, a consumer or a part of a key from any text: letters, digits, '-' and '_'. What has
// other bytes, or more than 128, gets a hash, so that two texts never share a name.
func token(s string) string {
	const most = 128
	clean := len(s) <= most && s != ""
	b := []byte(s[:min(len(s), most)])
	for i, c := range b {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			continue
		}
		b[i], clean = '_', false
	}
	if clean {
		return s
	}
	h := fnv.New32a()
	h.Write([]byte(s))
	return fmt.Sprintf("%s-%08x", b, h.Sum32())
}

// hashKey is FNV-1a: the same in every process and version.
func hashKey(key string) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(key); i++ {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return h
}

// durable is the name of the consumer of an unordered group, and the beginning of those of an ordered one. A stream of
// several topics has one for each.
func (r *route) durable(group string) string {
	name := token(group)
	if r.shared {
		name = token(group + "@" + r.topic)
	}
	return name
}

// epochName is the name of a lane's consumer in one epoch of its ownership.
func epochName(durable string, lane int, epoch uint64) string {
	return fmt.Sprintf("%s~%d~%d", durable, lane, epoch)
}
