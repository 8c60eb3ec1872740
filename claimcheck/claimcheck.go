package claimcheck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// Defaults of Options.
const (
	DefaultBase    = "sixfold-blob:"
	DefaultMaxBody = 16 << 20
	DefaultMaxHeld = 64 << 20
)

// maxMaxBody bounds what is read into memory as one body.
const maxMaxBody = 1 << 30

// Options of a Transport. Nil and the zero value mean the defaults.
type Options struct {
	// Threshold in bytes of body and headers together: the body of a larger message goes to the store. 0: nine tenths of the
	// transport's own limit, since attributes take room too. It is required where the transport states none.
	Threshold int
	// MaxBody in bytes of body and headers together; what is larger fails with bus.ErrTooLarge, and a reference to more is damaged.
	// 0: DefaultMaxBody (16 MiB), the most that an outbox takes. At most 1 GiB.
	MaxBody int
	// Base is what references begin with, the same for producers and consumers: a URI up to where the name of the blob follows. With
	// an address like "https://blobs.example.com/" other systems can follow it too. Only references that begin so are followed
	// here, and always through the store. Empty: DefaultBase.
	Base string
	// MaxHeld bounds the bytes of bodies that a source has taken out of the store for messages that are not settled. One larger
	// body is taken when there is no other. 0: DefaultMaxHeld (64 MiB).
	MaxHeld int
	// Logger for outages of the store. Nil: slog.Default.
	Logger *slog.Logger
}

// Transport is a bus.Transport whose large bodies go through a BlobStore. It is safe for concurrent use if the wrapped one is.
type Transport struct {
	in    bus.Transport
	blobs BlobStore
	caps  bus.Capabilities
	o     Options
}

var _ bus.Transport = (*Transport)(nil)

// Wrap makes a transport of t whose large bodies go through blobs. Closing it closes t. Errors name everything that is wrong, and wrap
// sixfold.ErrInvalid.
func Wrap(t bus.Transport, blobs BlobStore, opts *Options) (*Transport, error) {
	w := &Transport{in: t, blobs: blobs}
	if opts != nil {
		w.o = *opts
	}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("claimcheck: %w "+format, append([]any{sixfold.ErrInvalid}, args...)...))
	}
	if t == nil {
		bad("transport: it is nil; pass a driver's Transport")
	} else {
		w.caps = t.Capabilities()
	}
	if blobs == nil {
		bad("blob store: it is nil; pass one, for example of NewDir")
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"Threshold", w.o.Threshold}, {"MaxBody", w.o.MaxBody}, {"MaxHeld", w.o.MaxHeld}} {
		if n.value < 0 {
			bad("option %s: it is negative (%d); leave it 0 for the default", n.name, n.value)
		}
	}
	limit := w.caps.MaxBody
	if w.o.Threshold == 0 {
		w.o.Threshold = limit - limit/10
		if limit == 0 && t != nil {
			bad("option Threshold: it is 0, and the transport %s states no limit of its own; give the bytes that it takes", w.caps.Name)
		}
	} else if limit > 0 && w.o.Threshold > limit {
		bad("option Threshold: it is %d, and the transport %s takes %d; lower it", w.o.Threshold, w.caps.Name, limit)
	}
	if w.o.MaxBody == 0 {
		w.o.MaxBody = max(DefaultMaxBody, limit)
	} else if w.o.MaxBody > maxMaxBody || w.o.MaxBody > 0 && w.o.MaxBody < limit {
		bad("option MaxBody: it is %d; give at least the transport's own %d, and at most 1 GiB", w.o.MaxBody, limit)
	}
	if w.o.MaxHeld == 0 {
		w.o.MaxHeld = DefaultMaxHeld
	}
	if w.o.Base == "" {
		w.o.Base = DefaultBase
	}
	if scheme, _, ok := strings.Cut(w.o.Base, ":"); !ok || scheme == "" || len(w.o.Base)+nameBytes > sixfold.MaxName || strings.ContainsFunc(w.o.Base, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		bad("option Base: it is no URI of at most %d bytes of ASCII with a scheme in front; give one like %q", sixfold.MaxName-nameBytes, DefaultBase)
	}
	if w.o.Logger == nil {
		w.o.Logger = slog.Default()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	w.caps.MaxBody = w.o.MaxBody
	return w, nil
}

// Open implements bus.Transport.
func (t *Transport) Open(ctx context.Context) (bus.Sender, error) {
	in, err := t.in.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &sender{t: t, in: in}, nil
}

// Subscribe implements bus.Transport.
func (t *Transport) Subscribe(ctx context.Context, sub bus.Subscription) (bus.Source, error) {
	in, err := t.in.Subscribe(ctx, sub)
	if err != nil {
		return nil, err
	}
	return newSource(t, in), nil
}

// Capabilities implements bus.Transport: those of the wrapped one, with the larger MaxBody.
func (t *Transport) Capabilities() bus.Capabilities { return t.caps }

// Close implements bus.Transport. The blob store stays the caller's.
func (t *Transport) Close(ctx context.Context) error { return t.in.Close(ctx) }

// size is what limits count: body and headers.
func size(env *sixfold.Envelope) int {
	n := len(env.Body)
	for k, v := range env.Headers {
		n += len(k) + len(v)
	}
	return n
}
