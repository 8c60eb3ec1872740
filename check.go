package sixfold

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of what an envelope may carry. A broker's own limits may be lower.
const (
	MaxName        = 255      // bytes of a message name, an id, a source, a subject, a key
	MaxTopic       = 255      // bytes of a topic
	MaxHeaders     = 128      // number of user headers
	MaxHeaderKey   = 128      // bytes of a header's key
	MaxHeaderBytes = 32 << 10 // bytes of all header keys and values together
)

// reservedPrefixes of header keys, compared without regard to case. They belong to this framework, to CloudEvents
// and to brokers.
var reservedPrefixes = []string{"sixfold-", "ce-", "ce_", "cloudevents", "nats-"}

func invalid(format string, args ...any) error {
	return fmt.Errorf("sixfold: %w "+format, append([]any{ErrInvalid}, args...)...)
}

// CheckMessageName says what is wrong with a message's wire name. Errors wrap ErrInvalid.
func CheckMessageName(name string) error {
	switch {
	case name == "":
		return invalid(`message name "": it is empty; let MessageName return a stable name like "orders.placed"`)
	case len(name) > MaxName:
		return invalid("message name %s: it has %d bytes, the limit is %d; shorten it", quote(name), len(name), MaxName)
	}
	for i := 0; i < len(name); i++ {
		if name[i] <= ' ' || name[i] >= 0x7f {
			return invalid("message name %s: byte %d is a space, a control character or not ASCII; use letters, digits and dots", quote(name), i)
		}
	}
	return nil
}

// CheckTopic says what is wrong with a topic: 1 to 255 bytes of printable ASCII without spaces, '*', '>' and '#',
// which are wildcards of some brokers. Drivers refuse more where their broker does. Errors wrap ErrInvalid.
func CheckTopic(topic string) error {
	switch {
	case topic == "":
		return invalid(`topic "": it is empty; name one like "orders"`)
	case len(topic) > MaxTopic:
		return invalid("topic %s: it has %d bytes, the limit is %d; shorten it", quote(topic), len(topic), MaxTopic)
	}
	for i := 0; i < len(topic); i++ {
		switch c := topic[i]; {
		case c <= ' ' || c >= 0x7f:
			return invalid("topic %s: byte %d is a space, a control character or not ASCII; use letters, digits, dots and dashes", quote(topic), i)
		case c == '*' || c == '>' || c == '#':
			return invalid("topic %s: %q is a wildcard of some brokers; use letters, digits, dots and dashes", quote(topic), c)
		}
	}
	return nil
}

// CheckHeaders says everything that is wrong with user headers. Errors wrap ErrInvalid.
func CheckHeaders(h map[string]string) error {
	if len(h) == 0 {
		return nil
	}
	if len(h) > MaxHeaders {
		return invalid("headers: there are %d, the limit is %d; put the data into the body", len(h), MaxHeaders)
	}
	var errs []error
	size := 0
	for _, k := range slices.Sorted(maps.Keys(h)) { // so that the text is the same each time
		size += len(k) + len(h[k])
		if err := checkHeader(k, h[k]); err != nil {
			errs = append(errs, err)
		}
	}
	if size > MaxHeaderBytes {
		errs = append(errs, invalid("headers: they have %d bytes, the limit is %d; put the data into the body", size, MaxHeaderBytes))
	}
	return errors.Join(errs...)
}

func checkHeader(k, v string) error {
	switch {
	case k == "":
		return invalid(`header "": the key is empty; name it`)
	case len(k) > MaxHeaderKey:
		return invalid("header %s: the key has %d bytes, the limit is %d; shorten it", quote(k), len(k), MaxHeaderKey)
	}
	for i := 0; i < len(k); i++ {
		if c := k[i]; c <= ' ' || c >= 0x7f || c == ':' || c == '"' {
			return invalid("header %s: byte %d of the key is a space, a colon, a quote, a control character or not ASCII; use letters, digits and dashes", quote(k), i)
		}
	}
	if IsReservedHeader(k) {
		return invalid("header %s: the prefix is reserved; choose a name of your own", quote(k))
	}
	if !utf8.ValidString(v) {
		return invalid("header %s: the value is not valid UTF-8; encode it, for example with base64", quote(k))
	}
	if strings.ContainsAny(v, "\r\n\x00") {
		return invalid("header %s: the value %s contains CR, LF or NUL; encode it, for example with base64", quote(k), quote(v))
	}
	return nil
}

// IsReservedHeader reports whether the key lies under a prefix that users may not write.
func IsReservedHeader(key string) bool {
	for _, p := range reservedPrefixes {
		if len(key) >= len(p) && strings.EqualFold(key[:len(p)], p) {
			return true
		}
	}
	return false
}

// checkText says what is wrong with a free text attribute.
func checkText(what, s string) error {
	switch {
	case len(s) > MaxName:
		return invalid("%s %s: it has %d bytes, the limit is %d; shorten it", what, quote(s), len(s), MaxName)
	case !utf8.ValidString(s):
		return invalid("%s %s: it is not valid UTF-8; encode it, for example with base64", what, quote(s))
	case strings.ContainsAny(s, "\r\n\x00"):
		return invalid("%s %s: it contains CR, LF or NUL; remove them", what, quote(s))
	}
	return nil
}
