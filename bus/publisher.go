package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/sixfold-go/sixfold"
)

// ErrInDoubt says that the broker may or may not have a message: the connection, or the caller's patience, ended
// between the hand-over and the answer. Publishing it again with the same id delivers it at least once, perhaps twice.
var ErrInDoubt = errors.New("it is not known whether the broker has the message")

// A Publisher sends messages straight to the broker, outside of any transaction: what happens to the caller's database
// happens without it. Use package outbox where a message must exist if and only if a transaction commits.
//
// All callers share one connection; what several of them publish at the same time travels together. It is safe for
// concurrent use.
type Publisher struct {
	o      PublisherOptions
	pipe   *pipe
	source string
}

// PublisherOptions are optional; nil and the zero value mean the defaults.
type PublisherOptions struct {
	// Source of envelopes, a URI reference: often the service's name. Empty: "sixfold".
	Source string
	// Codec of message values. Nil: sixfold.JSON.
	Codec sixfold.Codec
	// Seal is called for each envelope when nothing about it changes any more, for example to sign it. Its error refuses the
	// publish. Nil: nothing is done.
	Seal func(env *sixfold.Envelope) error
	// Unconfirmed makes every publish return as if it had the option Unconfirmed. It must be set where the transport
	// cannot confirm.
	Unconfirmed bool
	// Logger for what the broker did not take of unconfirmed messages. Nil: slog.Default.
	Logger *slog.Logger
}

// NewPublisher makes a Publisher through t, which stays the caller's. It connects with the first publish.
func NewPublisher(t Transport, opts *PublisherOptions) (*Publisher, error) {
	p := &Publisher{}
	if opts != nil {
		p.o = *opts
	}
	p.source = orElse(p.o.Source, "sixfold")
	if p.o.Logger == nil {
		p.o.Logger = slog.Default()
	}
	var errs []error
	if len(p.source) > sixfold.MaxName || !plainText(p.source) {
		errs = append(errs, fmt.Errorf("bus: publisher options: %w Source %s: give at most %d bytes of printable text", sixfold.ErrInvalid, short(p.source), sixfold.MaxName))
	}
	if t == nil {
		errs = append(errs, fmt.Errorf("bus: publisher: %w transport: it is nil; pass a driver's Transport", sixfold.ErrInvalid))
		return nil, errors.Join(errs...)
	}
	caps := t.Capabilities()
	if !caps.Confirms && !p.o.Unconfirmed {
		errs = append(errs, fmt.Errorf("bus: publisher: %w transport: %s does not confirm what it is sent; use one that does, or set PublisherOptions.Unconfirmed and lose messages now and then",
			sixfold.ErrInvalid, orElse(caps.Name, "it")))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	p.pipe = newPipe(t, caps.PrefixPerKey, p.o.Logger)
	return p, nil
}

// A PublishOption is for one call of Publish.
type PublishOption func(*publishing)

type publishing struct {
	unconfirmed, mayMiss bool
	edits                []func(*sixfold.Envelope)
}

// Unconfirmed returns when the message is handed to the connection, not when the broker has it: at most once. What the
// broker then does not take is logged and lost, and the order of a key is not kept over a lost connection.
func Unconfirmed() PublishOption { return func(p *publishing) { p.unconfirmed = true } }

// MayMiss makes it no failure if the broker has no place for the topic.
func MayMiss() PublishOption { return func(p *publishing) { p.mayMiss = true } }

// With changes the envelope before it is sent: its Key, Subject, Headers, Expires, or the ID of a message that is
// published once more.
func With(edit func(env *sixfold.Envelope)) PublishOption {
	return func(p *publishing) {
		if edit != nil {
			p.edits = append(p.edits, edit)
		}
	}
}

// Publish sends m to topic and answers its id when the broker has confirmed it. Inside a handler it carries
// correlation, causation and trace on. Errors tell three cases apart: what wraps sixfold.ErrInvalid cannot be
// published; what wraps ErrInDoubt may have been; after any other error the broker does not have it.
func (p *Publisher) Publish(ctx context.Context, topic string, m sixfold.Message, opts ...PublishOption) (id string, err error) {
	env, err := sixfold.NewEnvelope(ctx, p.source, p.o.Codec, m)
	if err != nil {
		return "", fmt.Errorf("bus: publish to %s: %w", short(topic), err)
	}
	var o publishing
	for _, opt := range opts {
		opt(&o)
	}
	for _, edit := range o.edits {
		edit(env)
	}
	return env.ID, p.send(ctx, topic, &o, []*sixfold.Envelope{env})
}

// PublishEnvelopes sends envelopes to topic as they are, in their order, and returns when the broker has answered for
// all of them; those of one key that follow a failed one fail too. The error joins one for each that failed. They are
// not the caller's any more.
func (p *Publisher) PublishEnvelopes(ctx context.Context, topic string, envs []*sixfold.Envelope, opts ...PublishOption) error {
	var o publishing
	for _, opt := range opts {
		opt(&o)
	}
	for _, edit := range o.edits {
		for _, env := range envs {
			if env != nil {
				edit(env)
			}
		}
	}
	return p.send(ctx, topic, &o, envs)
}

func (p *Publisher) send(ctx context.Context, topic string, o *publishing, envs []*sixfold.Envelope) error {
	outs := make([]Outgoing, len(envs))
	errs := []error{sixfold.CheckTopic(topic)}
	for i, env := range envs {
		err := sixfold.CheckEnvelope(env)
		if err == nil && p.o.Seal != nil {
			err = p.o.Seal(env)
		}
		errs = append(errs, err)
		outs[i] = Outgoing{Topic: topic, MayMiss: o.mayMiss, Envelope: env}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("bus: publish to %s: %w", short(topic), err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("bus: publish to %s: it was not sent: %w", short(topic), err)
	}
	if len(outs) == 0 {
		return nil
	}
	errs = errs[:0]
	for i, err := range p.pipe.send(ctx, outs, o.unconfirmed || p.o.Unconfirmed) {
		if err != nil && !(o.mayMiss && errors.Is(err, ErrUnroutable)) {
			errs = append(errs, fmt.Errorf("bus: publish %s %s to %s: %w", short(envs[i].Type), short(envs[i].ID), short(topic), err))
		}
	}
	return errors.Join(errs...)
}

// Close takes no more messages, waits while ctx lasts until the broker has answered for those on their way, and
// closes what was opened, never the transport. It is safe to call twice.
func (p *Publisher) Close(ctx context.Context) error { return p.pipe.close(ctx) }
