package protobuf

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/sixfold-go/sixfold"
)

// ContentType is the media type that the codec writes and reads.
const ContentType = "application/protobuf"

// Defaults of Options.
const (
	DefaultMaxBytes = 16 << 20
	DefaultMaxDepth = 100
)

// Options are optional; nil and the zero value mean the defaults.
type Options struct {
	// MaxBytes of an encoded message, in both directions. 0: DefaultMaxBytes.
	MaxBytes int
	// MaxDepth of messages within messages that are read. 0: DefaultMaxDepth.
	MaxDepth int
}

// codec implements sixfold.Codec.
type codec struct {
	max   int
	write proto.MarshalOptions
	read  proto.UnmarshalOptions
}

// New makes the codec. It is safe for concurrent use. Equal messages become equal bytes within one version of the program, so that a
// message that is published again under its id is the same message; fields that the reader's type does not know are kept. Errors
// name every option that is wrong, and wrap sixfold.ErrInvalid.
func New(opts *Options) (sixfold.Codec, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	var errs []error
	for _, n := range []struct {
		name  string
		value *int
		zero  int
	}{{"MaxBytes", &o.MaxBytes, DefaultMaxBytes}, {"MaxDepth", &o.MaxDepth, DefaultMaxDepth}} {
		if *n.value < 0 {
			errs = append(errs, fmt.Errorf("protobuf: option %s: %w: it is negative (%d); leave it 0 for %d", n.name, sixfold.ErrInvalid, *n.value, n.zero))
		} else if *n.value == 0 {
			*n.value = n.zero
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &codec{max: o.MaxBytes, write: proto.MarshalOptions{Deterministic: true}, read: proto.UnmarshalOptions{RecursionLimit: o.MaxDepth}}, nil
}

// ContentType implements sixfold.Codec.
func (c *codec) ContentType() string { return ContentType }

// Marshal implements sixfold.Codec.
func (c *codec) Marshal(v any) ([]byte, error) {
	m, err := within(v)
	if err != nil {
		return nil, fmt.Errorf("protobuf: encode %T: %w", v, err)
	}
	if n := c.write.Size(m); n > c.max {
		return nil, fmt.Errorf("protobuf: encode %T: %w: it has %d bytes, the limit is %d; send less, or raise Options.MaxBytes", v, sixfold.ErrInvalid, n, c.max)
	}
	// An empty message has no bytes at all, and a body that is not there is something else.
	b, err := c.write.MarshalAppend([]byte{}, m)
	if err != nil {
		return nil, fmt.Errorf("protobuf: encode %T: %w", v, err)
	}
	return b, nil
}

// Unmarshal implements sixfold.Codec.
func (c *codec) Unmarshal(data []byte, v any) error {
	if len(data) > c.max {
		return fmt.Errorf("protobuf: decode %T: %w: it has %d bytes, the limit is %d; raise Options.MaxBytes where that is right", v, sixfold.ErrInvalid, len(data), c.max)
	}
	m, keep, err := fresh(v)
	if err == nil {
		err = c.read.Unmarshal(data, m)
	}
	if err != nil {
		return fmt.Errorf("protobuf: decode %T: %w", v, err)
	}
	keep()
	return nil
}
