package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold"
)

// maxInput is the most that a body may have, in bytes.
const maxInput = 16 << 20

// messageFlags are the flags of the two commands that publish.
type messageFlags struct {
	kind, key, id, source, contentType, subject, data, file string
	headers                                                 []string
}

func (m *messageFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&m.kind, "type", "", "`name` of the message, like orders.placed")
	f.StringVar(&m.key, "key", "", "`key` whose messages stay in order")
	f.StringVar(&m.id, "id", "", "`id` of the message, a UUID (made here when empty)")
	f.StringVar(&m.source, "source", "sixfold-cli", "who sends it")
	f.StringVar(&m.subject, "subject", "", "what it is about")
	f.StringVar(&m.contentType, "content-type", "application/json", "how the body is encoded")
	f.StringArrayVar(&m.headers, "header", nil, "`name=value`, may be repeated")
	f.StringVar(&m.data, "data", "", "the body")
	f.StringVar(&m.file, "file", "", "`path` of a file with the body; - is standard input")
}

// envelope makes the message, or says everything that is wrong with it.
func (m *messageFlags) envelope(c *cobra.Command, stdin io.Reader) (*sixfold.Envelope, error) {
	if m.kind == "" {
		return nil, usage("--type is missing", "give the name of the message, like --type orders.placed")
	}
	if m.id != "" && !isUUID(m.id) {
		return nil, usage("--id "+quote(m.id)+": it is no UUID", "leave it out, and one is made")
	}
	env := &sixfold.Envelope{ID: strings.ToLower(m.id), Source: m.source, Type: m.kind, Key: m.key, Subject: m.subject, ContentType: m.contentType, Time: time.Now().UTC().Round(0)}
	if env.ID == "" {
		env.ID = sixfold.NewID()
	}
	for _, h := range m.headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok {
			return nil, usage("--header "+quote(name)+": it has no \"=\"", "write --header name=value")
		}
		if env.Headers == nil {
			env.Headers = map[string]string{}
		}
		env.Headers[name] = value
	}
	var err error
	if env.Body, err = m.body(c, stdin); err != nil {
		return nil, err
	}
	if err := sixfold.CheckEnvelope(env); err != nil {
		f := asFailure(err)
		return nil, usage(f.Message, f.Hint)
	}
	return env, nil
}

func (m *messageFlags) body(c *cobra.Command, stdin io.Reader) ([]byte, error) {
	if m.file != "" && c.Flags().Changed("data") {
		return nil, usage("--data and --file are both given", "give one of them")
	}
	if m.file == "" {
		return []byte(m.data), nil
	}
	in := stdin
	if m.file != "-" {
		info, err := os.Stat(m.file)
		switch {
		case err != nil:
			return nil, usage("the file "+quote(m.file)+" cannot be read", "look at its path and its rights")
		case info.IsDir():
			return nil, usage(quote(m.file)+" is a directory", "name a file")
		}
		f, err := os.Open(m.file)
		if err != nil {
			return nil, usage("the file "+quote(m.file)+" cannot be read", "look at its path and its rights")
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return nil, usage("the body cannot be read from "+quote(m.file), "look at its path and its rights")
	}
	if len(b) > maxInput {
		return nil, usage(fmt.Sprintf("the body has more than %d bytes", maxInput), "put it elsewhere, and send its address")
	}
	return b, nil
}
