package sqs

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/sixfold-go/sixfold"
)

const (
	fifoSuffix = ".fifo"
	mostName   = 80 // characters of a queue's name, the suffix among them; topics may have 256, and keep to the same
)

// checkName says what is wrong with the name of a queue or a topic at AWS.
func checkName(name string) error {
	base := strings.TrimSuffix(name, fifoSuffix)
	switch {
	case base == "":
		return fmt.Errorf("its name is empty; give 1 to %d letters, digits, '-' and '_'", mostName)
	case len(name) > mostName:
		return fmt.Errorf("its name has %d characters, the limit is %d; shorten it", len(name), mostName)
	case !legal(base):
		return fmt.Errorf("its name has other characters than letters, digits, '-' and '_' (and the ending %s); use those", fifoSuffix)
	}
	return nil
}

// legal reports whether AWS takes s as a part of a name.
func legal(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// digest is the part of a name that tells two texts apart that would be called the same.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// part makes a part of a name of any text: dots become '_'. A text with other signs that AWS refuses, with '_', or with what
// separates parts, gets a digest, so that two texts never share a name.
func part(s string) string {
	clean := s != "" && !strings.ContainsAny(s, "_") && !strings.Contains(s, "--") && !strings.Contains(s, "..") &&
		s[0] != '-' && s[len(s)-1] != '-' && legal(strings.ReplaceAll(s, ".", "_"))
	if clean {
		return strings.ReplaceAll(s, ".", "_")
	}
	b := []byte(s)
	for i := range b {
		if !legal(string(b[i : i+1])) {
			b[i] = '_'
		}
	}
	return fmt.Sprintf("%s__%s", cut(string(b), 40), digest(s))
}

func cut(s string, most int) string { return s[:min(len(s), most)] }

// fit makes a name of AWS with the prefix, the suffix and the right length.
func (o *Options) fit(base string) string {
	suffix := fifoSuffix
	if o.Standard {
		suffix = ""
	}
	room := mostName - len(o.Prefix) - len(suffix)
	if len(base) > room {
		sum := digest(base)
		base = base[:room-len(sum)-2] + "__" + sum
	}
	return o.Prefix + base + suffix
}

// topicName is that of an SNS topic, or of the queue of a topic that has none.
func (o *Options) topicName(topic string) string { return o.fit(part(topic)) }

// queueName is that of a group's queue.
func (o *Options) queueName(topic, group string) string {
	return o.fit(part(group) + "--" + part(topic))
}

// copyPrefix begins the names of the queues of a topic's copies; a number of 16 digits follows.
func (o *Options) copyPrefix(topic string) string {
	name := strings.TrimSuffix(o.fit("copy--"+part(topic)), fifoSuffix)
	if room := mostName - len(fifoSuffix) - len("--") - 16; len(name) > room {
		name = name[:room-18] + "__" + digest(name)
	}
	return name + "--"
}

// checkTopic says what is wrong with a topic.
func checkTopic(topic string) error { return sixfold.CheckTopic(topic) }
