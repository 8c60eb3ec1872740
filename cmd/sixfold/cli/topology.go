package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// topology is what a broker should have, as a TOML file says it.
type topology struct {
	Topics []topic `toml:"topic"`
	// What only one kind of broker has. A file may have several; the others are checked and left alone.
	RabbitMQ rabbitTopology `toml:"rabbitmq"`
	NATS     natsTopology   `toml:"nats"`
	Kafka    kafkaTopology  `toml:"kafka"`
	SQS      sqsTopology    `toml:"sqs"`
}

// section is the part of a topology for one kind of broker.
type section interface {
	// check says everything that is wrong, without a broker.
	check(topics []topic) error
}

func (t *topology) sections() []section { return []section{&t.RabbitMQ, &t.NATS, &t.Kafka, &t.SQS} }

// groups are those of the file's topics, as the driver has them.
func (t *topology) groups() (subs []bus.Subscription) {
	for _, x := range t.Topics {
		for _, g := range x.Groups {
			subs = append(subs, bus.Subscription{Topics: []string{x.Name}, Group: g, Ordered: !x.Unordered})
		}
	}
	return subs
}

// topic is one [[topic]] of the file.
type topic struct {
	Name     string   `toml:"name" json:"name"`
	Lanes    int      `toml:"lanes" json:"lanes,omitempty"`       // of an ordered topic; 0: the driver's default
	Replicas int      `toml:"replicas" json:"replicas,omitempty"` // 0: one
	Dedup    duration `toml:"dedup" json:"dedup,omitempty"`       // window for repeats; 0: the driver's default
	// Groups that the broker has to keep messages for before their first members have come.
	Groups    []string `toml:"groups" json:"groups,omitempty"`
	Unordered bool     `toml:"unordered" json:"unordered,omitempty"` // they do not ask for order
}

// duration is written like "2m".
type duration time.Duration

func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%s is no duration like \"2m\"", quote(string(text)))
	}
	*d = duration(v)
	return nil
}

// readTopology reads a file, and refuses what it does not know: a misspelt key would be ignored in silence.
func readTopology(path string) (*topology, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, usage("the file "+quote(path)+" cannot be read", "look at its path and its rights")
	case info.IsDir():
		return nil, usage(quote(path)+" is a directory", "name a TOML file")
	case info.Size() > 1<<20:
		return nil, usage("the file "+quote(path)+" has more than 1 MiB", "is it the right one?")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usage("the file "+quote(path)+" cannot be read", "look at its path and its rights")
	}
	var t topology
	meta, err := toml.Decode(string(text), &t)
	var parse toml.ParseError
	if errors.As(err, &parse) {
		return nil, usage(fmt.Sprintf("%s, line %d: %s", quote(path), parse.Position.Line, safe(parse.Message)), "write [[topic]] with name = \"orders\" below it")
	}
	if err != nil {
		return nil, usage(quote(path)+": "+safe(err.Error()), "write [[topic]] with name = \"orders\" below it")
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, usage(fmt.Sprintf("%s has the unknown key %s", quote(path), quote(unknown[0].String())), "look at sixfold bus declare --help for the keys that there are")
	}
	if err := checkTopics(path, t.Topics); err != nil {
		return nil, err
	}
	empty := len(t.Topics) == 0
	for _, s := range t.sections() {
		if err := s.check(t.Topics); err != nil {
			f := asFailure(err)
			return nil, usage(quote(path)+": "+safe(f.Message), f.Hint)
		}
	}
	if empty && len(meta.Keys()) == 0 {
		return nil, usage(quote(path)+": there is nothing in it", "write [[topic]] with name = \"orders\" below it")
	}
	return &t, nil
}

// checkTopics says everything that is wrong.
func checkTopics(path string, topics []topic) error {
	var wrong []string
	seen := map[string]bool{}
	for i, t := range topics {
		if err := sixfold.CheckTopic(t.Name); err != nil {
			wrong = append(wrong, fmt.Sprintf("topic number %d: %s", i+1, asFailure(err).Message))
		}
		if seen[t.Name] {
			wrong = append(wrong, fmt.Sprintf("topic %s is there twice", quote(t.Name)))
		}
		seen[t.Name] = true
		if t.Lanes < 0 || t.Lanes > 64 {
			wrong = append(wrong, fmt.Sprintf("topic %s: lanes = %d is outside 1 to 64", quote(t.Name), t.Lanes))
		}
		if t.Replicas < 0 || t.Replicas > 5 {
			wrong = append(wrong, fmt.Sprintf("topic %s: replicas = %d is outside 1 to 5", quote(t.Name), t.Replicas))
		}
		for _, g := range t.Groups {
			if g == "" || len(g) > sixfold.MaxName {
				wrong = append(wrong, fmt.Sprintf("topic %s: the name of a group has %d bytes; give 1 to %d", quote(t.Name), len(g), sixfold.MaxName))
			}
		}
		if t.Dedup < 0 {
			wrong = append(wrong, fmt.Sprintf("topic %s: dedup is negative", quote(t.Name)))
		}
	}
	if len(wrong) > 0 {
		return usage(quote(path)+": "+strings.Join(wrong, ", "), "correct the file")
	}
	return nil
}
