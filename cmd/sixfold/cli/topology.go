package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/sixfold-go/sixfold"
)

// topology is what a broker should have, as a TOML file says it.
type topology struct {
	Topics []topic `toml:"topic"`
}

// topic is one [[topic]] of the file.
type topic struct {
	Name     string   `toml:"name" json:"name"`
	Lanes    int      `toml:"lanes" json:"lanes,omitempty"`       // of an ordered topic; 0: the driver's default
	Replicas int      `toml:"replicas" json:"replicas,omitempty"` // 0: one
	Dedup    duration `toml:"dedup" json:"dedup,omitempty"`       // window for repeats; 0: the driver's default
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
func readTopology(path string) ([]topic, error) {
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
		return nil, usage(fmt.Sprintf("%s has the unknown key %s", quote(path), quote(unknown[0].String())), "a [[topic]] has name, lanes, replicas and dedup")
	}
	return t.Topics, checkTopics(path, t.Topics)
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
		if t.Dedup < 0 {
			wrong = append(wrong, fmt.Sprintf("topic %s: dedup is negative", quote(t.Name)))
		}
	}
	if len(topics) == 0 {
		wrong = append(wrong, "there is no [[topic]]")
	}
	if len(wrong) > 0 {
		return usage(quote(path)+": "+strings.Join(wrong, ", "), "correct the file")
	}
	return nil
}
