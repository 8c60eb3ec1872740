package sqs

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/internal/signed"
)

// The attribute of every message.
const (
	attrName = "content-type"
	attrType = "String"
	overhead = len(attrName) + len(attrType) + len(cloudevents.ContentType) // as AWS counts it
)

// dedupWindow is that of FIFO queues and topics. It goes on when a message is deleted.
const dedupWindow = 5 * 60 * 1e9

// encode makes the text of a message, and checks everything that can be checked before sending. size is what AWS counts.
func encode(o *bus.Outgoing, most, limit int) (text string, size int, err error) {
	env := o.Envelope
	body := len(env.Body)
	for k, v := range env.Headers {
		body += len(k) + len(v)
	}
	if body > most {
		return "", 0, fmt.Errorf("%w: %d bytes of body and headers, the limit is %d; send less", bus.ErrTooLarge, body, most)
	}
	text, err = event(env)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	size = len(text) + overhead
	if size > limit {
		return "", 0, fmt.Errorf("%w: %d bytes as an event, the limit of the service is %d; send less", bus.ErrTooLarge, size, limit)
	}
	return text, size, nil
}

// event writes an envelope in the JSON Event Format, with nothing that SQS refuses: of what JSON may have, those are the
// characters U+FFFE and U+FFFF. In a text of the event's they are escaped; a body with them is not changed, it travels as
// base64.
func event(env *sixfold.Envelope) (string, error) {
	if !refused(env.Body) {
		data, err := cloudevents.Marshal(env)
		return escape(data), err
	}
	head := *env
	head.Body = nil
	data, err := cloudevents.Marshal(&head)
	if err != nil {
		return "", err
	}
	text := escape(data)
	return text[:len(text)-1] + `,"data_base64":"` + base64.StdEncoding.EncodeToString(env.Body) + `"}`, nil
}

var (
	fffe = []byte("\uFFFE")
	ffff = []byte("\uFFFF")
)

func refused(b []byte) bool { return bytes.Contains(b, fffe) || bytes.Contains(b, ffff) }

// escape writes what SQS refuses in the way of JSON.
func escape(data []byte) string {
	if !refused(data) {
		return string(data)
	}
	return strings.NewReplacer("\uFFFE", `\ufffe`, "\uFFFF", `\uffff`).Replace(string(data))
}

// groupOf is the message group: the key where it can be one, or a digest of it. A message without a key is a group of its own.
func groupOf(env *sixfold.Envelope) string {
	key := env.Key
	if key == "" {
		return "~~" + hash(env.Source, env.ID)
	}
	if len(key) > 128 || key[0] == '~' || !printable(key) {
		return "~" + hash(key)
	}
	return key
}

// printable reports whether a text has only what groups and dedup ids may have: letters, digits and punctuation of ASCII.
func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// dedupID names a message. Ids are unique for a source only. One that was redriven to its topic bears its old id and would be
// dropped inside the window, so its redrive epoch is part of the name. Dead letters are never dropped: two groups that
// give one message up both mean it.
func dedupID(o *bus.Outgoing) string {
	if strings.HasSuffix(o.Topic, bus.DeadSuffix) || len(o.Headers) > 0 && o.Headers[bus.DeadConsumer] != "" {
		return sixfold.NewID()
	}
	if mark := signed.Mark(o.Headers); mark != "" { // or a forged one that came first would have it dropped
		return hash(o.Source, o.ID, strconv.Itoa(o.Epoch), mark)
	}
	return hash(o.Source, o.ID, strconv.Itoa(o.Epoch))
}

// hash digests texts so that others, or the same ones cut otherwise, have another digest.
func hash(texts ...string) string {
	h := sha256.New()
	for _, s := range texts {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil))
}
