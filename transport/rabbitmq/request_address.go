package rabbitmq

import (
	"bytes"
	"encoding/base64"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// directReplyTo is the queue of RabbitMQ's direct reply-to. The node makes an address of its own of it for each channel,
// which nobody else can receive from.
const directReplyTo = "amq.rabbitmq.reply-to"

// replyForm is what all addresses of a cluster have in common: they are "amq.rabbitmq.reply-to.<process>.<key>", in which
// the process is an Erlang term, in base64. RabbitMQ closes the channel that answers to one whose term it cannot read
// (seen with 3.10), so a forged address would cost a responder its connection. Which terms it can read depends on the
// node's Erlang, and is learnt from an address that it made. What is left is the number of a node that is not of the cluster, which no
// responder can tell: it costs the connection, which is made again.
type replyForm struct {
	head []byte // the term up to its node's name's length; nil: not known, and only the prefix is looked at
	wide bool   // the length has two bytes
}

// processTail is what follows the node's name in the term of a process: id, serial and creation.
const processTail = 12

// nodePrefix begins the name that stands for a node in an address; digits follow.
const nodePrefix = "reply@"

// learn takes the form of an address that the node made.
func learn(address string) replyForm {
	process, _, _ := strings.Cut(strings.TrimPrefix(address, directReplyTo+"."), ".")
	term, err := base64.StdEncoding.DecodeString(process)
	if err != nil || len(term) < 5 {
		return replyForm{}
	}
	for _, wide := range []bool{true, false} {
		f := replyForm{head: term[:3], wide: wide}
		if f.process(term) {
			return f
		}
	}
	return replyForm{}
}

// process reports whether term has the form.
func (f replyForm) process(term []byte) bool {
	rest, ok := bytes.CutPrefix(term, f.head)
	if !ok || len(rest) < 2 {
		return false
	}
	n, rest := int(rest[0]), rest[1:]
	if f.wide {
		n, rest = n<<8|int(rest[0]), rest[1:]
	}
	if len(rest) != n+processTail {
		return false
	}
	digits, ok := strings.CutPrefix(string(rest[:n]), nodePrefix)
	if !ok || digits == "" || len(digits) > 10 || digits[0] == '0' && len(digits) > 1 {
		return false
	}
	return strings.Trim(digits, "0123456789") == ""
}

// address is what a request states for answers, or empty if it is not one of direct reply-to: nobody may have answers put
// into a queue of their choice.
func (f replyForm) address(replyTo string) string {
	rest, ok := strings.CutPrefix(replyTo, directReplyTo+".")
	if !ok || len(replyTo) > maxShort || !plain(replyTo) {
		return ""
	}
	if f.head == nil {
		return replyTo
	}
	process, key, ok := strings.Cut(rest, ".")
	term, err := base64.StdEncoding.DecodeString(process)
	if !ok || err != nil || !f.process(term) {
		return ""
	}
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) == 0 {
		return ""
	}
	return replyTo
}

// sample has the node make an address, to learn its form: a message from the ear to itself.
func (e *requestEar) sample() error {
	const tag = "sample"
	q, err := e.ch.QueueDeclare("", false, true, true, false, nil)
	if err != nil {
		return err
	}
	if _, err := e.ch.Consume(directReplyTo, tag, true, false, false, false, nil); err != nil {
		return err
	}
	if err := e.ch.Publish("", q.Name, false, false, amqp.Publishing{ReplyTo: directReplyTo}); err != nil {
		return err
	}
	d, _, err := e.ch.Get(q.Name, true) // which the channel asks after it has handed the message over
	if err != nil {
		return err
	}
	e.form = learn(d.ReplyTo)
	if err := e.ch.Cancel(tag, false); err != nil {
		return err
	}
	_, err = e.ch.QueueDelete(q.Name, false, false, false)
	return err
}
