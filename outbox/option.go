package outbox

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sixfold-go/sixfold"
)

// An Option says something about one publish.
type Option func(*draft)

// draft is a message on its way into rows. Drafts are used again, so nothing keeps one: rows take over what the
// envelope refers to, and not the envelope.
type draft struct {
	env       *sixfold.Envelope // often &envelope
	envelope  sixfold.Envelope
	space     [2][1]Row // for the rows of a message that is written at once
	topic     string
	idGiven   bool
	derived   bool // and made of another one, which refuses repeats
	unique    string
	uniqueFor time.Duration
	later     bool // it is held back until at, or if that is zero until after has passed
	at        time.Time
	after     time.Duration
	expires   time.Duration // 0: as the envelope says
	unsealed  bool
	err       error
}

func (d *draft) fail(format string, args ...any) {
	d.err = errors.Join(d.err, fmt.Errorf("outbox: %w "+format, append([]any{sixfold.ErrInvalid}, args...)...))
}

// Unsealed leaves out Options.Seal: for who makes rows that others are made of, as package schedule does with Rows.
func Unsealed() Option { return func(d *draft) { d.unsealed = true } }

// Key sets the key, in place of the one that the message states.
func Key(k string) Option { return func(d *draft) { d.env.Key = k } }

// Header adds a header of the user's own.
func Header(key, value string) Option {
	return func(d *draft) {
		if d.env.Headers == nil {
			d.env.Headers = make(map[string]string, 1)
		}
		d.env.Headers[key] = value
	}
}

// Headers adds headers of the user's own.
func Headers(h map[string]string) Option {
	return func(d *draft) {
		for k, v := range h {
			Header(k, v)(d)
		}
	}
}

// Subject says what the message is about.
func Subject(s string) Option { return func(d *draft) { d.env.Subject = s } }

// ID gives the message an id of the caller's choice, a UUID. A second message of that id to the same destination is
// refused with ErrDuplicateMessage, for ever, so that a transaction of unknown outcome can be done again.
func ID(id string) Option {
	return func(d *draft) {
		d.idGiven, d.derived = true, false
		d.env.ID = id
	}
}

// DerivedID gives the message an id that is made of the id of another message of the same transaction, a UUID. It is not remembered, and
// refuses no repeat: that is up to the other one.
func DerivedID(id string) Option {
	return func(d *draft) {
		d.idGiven, d.derived = true, true
		d.env.ID = id
	}
}

// Unique refuses, with ErrDuplicateMessage, a second message of that key to the same destination until within has
// passed by the database's clock; 0 is for ever. It goes without ID.
func Unique(key string, within time.Duration) Option {
	return func(d *draft) {
		d.unique, d.uniqueFor = key, within
		switch {
		case key == "":
			d.fail(`unique key "": it is empty; give what must not be there twice`)
		case len(key) > sixfold.MaxName:
			d.fail("unique key: it has %d bytes, the limit is %d; use a hash of it", len(key), sixfold.MaxName)
		case within < 0:
			d.fail("unique key: it holds for %v; give a positive duration, or 0 for ever", within)
		case !utf8.ValidString(key) || strings.ContainsRune(key, 0):
			d.fail("unique key %.64q: it is not valid UTF-8, or has a NUL; encode it, for example in hexadecimal", key)
		case within > 0:
			d.uniqueFor = max(within, time.Microsecond) // databases count in these, and 0 is for ever
		}
	}
}

// Expires says that no handler should run any more when so much has passed: since the message's time, or if it is held back,
// since it is due.
func Expires(after time.Duration) Option {
	return func(d *draft) {
		if after <= 0 {
			d.fail("expiry in %v: it is not in the future; give a positive duration", after)
			return
		}
		d.expires = after
	}
}

// setExpiry is called when all options are known.
func (d *draft) setExpiry() {
	if d.expires == 0 {
		return
	}
	from := d.env.Time
	if from.IsZero() {
		from = time.Now().UTC().Round(0)
	}
	if d.later && !d.at.IsZero() {
		from = d.at
	}
	d.env.Expires = from.Add(d.after).Add(d.expires)
}

// Correlation sets the correlation id, in place of the inherited one.
func Correlation(id string) Option { return func(d *draft) { d.env.CorrelationID = id } }

// Causation sets the causation id, in place of that of the message at hand, for who answers a message later, from the handler of
// another one.
func Causation(id string) Option { return func(d *draft) { d.env.CausationID = id } }

// ReplyTo says where an answer is expected.
func ReplyTo(address string) Option { return func(d *draft) { d.env.ReplyTo = address } }

// Topic sends this one message to the topic of the default transport, whatever the routes say.
func Topic(topic string) Option {
	return func(d *draft) {
		d.topic = topic
		if err := sixfold.CheckTopic(topic); err != nil {
			d.err = errors.Join(d.err, err)
		}
	}
}
