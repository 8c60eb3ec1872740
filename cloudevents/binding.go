package cloudevents

import (
	"errors"
	"fmt"
	"strings"
)

// A Binding writes and reads the headers of binary mode as one kind of carrier has them. It is immutable and safe for
// concurrent use; make one and keep it.
type Binding struct {
	names       [attrCount]string // with the prefix
	prefixes    []string          // the first is written, all are read
	contentType string            // name of the header for it; empty: the prefixed one
	ascii       bool
}

// BindingOptions describe a carrier.
type BindingOptions struct {
	// ContentType is the name of the header (or property) that has the content type. Empty: the attribute's own, with the
	// prefix. Whatever it is, "content-type" is read as well.
	ContentType string
	// ASCII says that values may have printable ASCII only: attributes are percent-encoded as HTTP Protocol Binding,
	// section 3.1.3.2, says, and the user's headers with other values, or with names that are no tokens, travel in the attribute "sixfoldheaders".
	// False: values are any UTF-8.
	ASCII bool
	// AlsoRead are further prefixes that are understood.
	AlsoRead []string
}

// Header is one header of a message in binary mode.
type Header struct{ Name, Value string }

// NATS is the binding of NATS Protocol Binding 1.0.3, section 3.1 (1.0.2 came before NATS had headers): prefix "ce-",
// ASCII values, the content type in "ce-datacontenttype".
func NATS() *Binding { return newBinding("ce-", BindingOptions{ASCII: true}) }

// HTTP is the binding of HTTP Protocol Binding 1.0.2, section 3.1: prefix "ce-", ASCII values, the content type in
// "content-type". HTTP changes the case of names, so headers of the user arrive as "X-Tenant".
func HTTP() *Binding {
	return newBinding("ce-", BindingOptions{ASCII: true, ContentType: contentTypeName})
}

// Kafka is the binding of Kafka Protocol Binding 1.0.2, section 3.2: prefix "ce_", values in UTF-8, the content type in
// "content-type". A nil body is a record without a value, a tombstone where the topic is compacted.
func Kafka() *Binding { return newBinding("ce_", BindingOptions{ContentType: contentTypeName}) }

// AMQP is the binding of AMQP Protocol Binding 1.0.2, section 3.1: prefix "cloudEvents:", values in UTF-8. "cloudEvents_" is read too, and
// "ce-", which Knative's binding for RabbitMQ has, and who uses an SDK's binding of HTTP. The driver moves the header "content-type" into the property of that name, and back.
func AMQP() *Binding {
	return newBinding("cloudEvents:", BindingOptions{ContentType: contentTypeName, AlsoRead: []string{"cloudEvents_", "ce-"}})
}

// NewBinding makes a Binding with a prefix of attribute names that no other header of the carrier has. Prefixes are
// read without regard to case.
func NewBinding(prefix string, o *BindingOptions) (*Binding, error) {
	if o == nil {
		o = &BindingOptions{}
	}
	var errs []error
	for _, p := range append([]string{prefix}, o.AlsoRead...) {
		if p == "" || strings.TrimSpace(p) != p || !printable(p) {
			errs = append(errs, fmt.Errorf("cloudevents: new binding: %w", invalid("prefix %s: it is empty, has spaces or is not ASCII; give one like %q", quote(p), "ce-")))
		}
	}
	if strings.TrimSpace(o.ContentType) != o.ContentType || !printable(o.ContentType) {
		errs = append(errs, fmt.Errorf("cloudevents: new binding: %w", invalid("name of the content type %s: it has spaces or is not ASCII; give one like %q", quote(o.ContentType), contentTypeName)))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return newBinding(prefix, *o), nil
}

const contentTypeName = "content-type"

func newBinding(prefix string, o BindingOptions) *Binding {
	b := &Binding{prefixes: append([]string{prefix}, o.AlsoRead...), contentType: o.ContentType, ascii: o.ASCII}
	for a, name := range attrNames {
		b.names[a] = prefix + name
	}
	return b
}

// isContentType reports whether a header is the carrier's content type.
func (b *Binding) isContentType(name string) bool {
	return equalFold(name, contentTypeName) || b.contentType != "" && equalFold(name, b.contentType)
}

// unprefixed is the name of the attribute in the name of a header, or empty if it is none.
func (b *Binding) unprefixed(name string) string {
	for _, p := range b.prefixes {
		if len(name) > len(p) && hasPrefixFold(name, p) {
			return name[len(p):]
		}
	}
	return ""
}
