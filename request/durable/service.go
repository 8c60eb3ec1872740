package durable

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
)

// Options are optional; nil and the zero value are right for who only answers.
type Options struct {
	// ReplyTo is the topic of the requester's own, to which its replies come. It ends with Suffix unless all responders allow
	// others (Allow).
	ReplyTo string
	// Scheduler promotes the deadlines of requests, and cancels those of requests that were answered. It has to run. Nil: Ask takes no
	// deadlines.
	Scheduler *schedule.Scheduler
	// Allow says whether replies may go to a topic that a request names: nobody may have them put anywhere. Nil: to those that
	// end with Suffix.
	Allow func(topic string) bool
	// Logger of failures that become faults, and of replies that are dropped. Nil: slog.Default.
	Logger *slog.Logger
}

// Suffix is how topics of replies end.
const Suffix = ".replies"

// A Service asks, or answers, or both. Answers are JSON. It is safe for concurrent use.
type Service[X any] struct {
	ob  *outbox.Outbox
	box *inbox.Box[X]
	o   Options
}

// New makes a Service of the outbox through which it asks and answers, and the inbox that makes it do so once. The error names
// everything that is wrong and wraps sixfold.ErrInvalid.
func New[X any](ob *outbox.Outbox, box *inbox.Box[X], opts *Options) (*Service[X], error) {
	s := &Service[X]{ob: ob, box: box}
	if opts != nil {
		s.o = *opts
	}
	var errs []error
	if ob == nil {
		errs = append(errs, invalid("the outbox is nil; make one with outbox.New, and look at its error"))
	}
	if box == nil {
		errs = append(errs, invalid("the inbox is nil; make one with inbox.New, and look at its error"))
	}
	if s.o.ReplyTo != "" {
		if err := sixfold.CheckTopic(s.o.ReplyTo); err != nil {
			errs = append(errs, fmt.Errorf("durable: option ReplyTo: %w", err))
		}
	}
	if s.o.Allow == nil {
		s.o.Allow = func(topic string) bool { return strings.HasSuffix(topic, Suffix) }
		if s.o.ReplyTo != "" && !s.o.Allow(s.o.ReplyTo) {
			errs = append(errs, invalid("option ReplyTo %.64q: responders send replies to topics that end with %q only; name it so, or set Allow on both sides", s.o.ReplyTo, Suffix))
		}
	}
	if s.o.Logger == nil {
		s.o.Logger = slog.Default()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return s, nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("durable: %w "+format, append([]any{sixfold.ErrInvalid}, args...)...)
}

// The types of what comes to ReplyTo are the request's name with one of these behind it.
const (
	replySuffix    = ".reply"    // the body is the answer
	faultSuffix    = ".fault"    // the body is a verdict with a category
	deadlineSuffix = ".deadline" // the body is a verdict, which the requester has sent itself
)

// verdict is the body of what is no answer.
type verdict struct {
	name     string
	Request  string `json:"request"`
	Category string `json:"category,omitempty"`
}

// MessageName implements sixfold.Message.
func (v verdict) MessageName() string { return v.name }
