package claimcheck

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/dataref"
)

// A reference says where a body is, and what it must be.
type reference struct {
	name   string // of the blob
	digest [sha256.Size]byte
	size   int
}

const (
	dayForm   = "2006-01-02"
	hexDigits = 2 * sha256.Size
	nameBytes = len(dayForm) + 1 + hexDigits
	algorithm = "sha256:"
)

// refer makes the reference of a body that is stored today.
func refer(body []byte, now time.Time) reference {
	sum := sha256.Sum256(body)
	return reference{name: now.UTC().Format(dayForm) + "/" + hex.EncodeToString(sum[:]), digest: sum, size: len(body)}
}

// check is the value of the attribute beside the reference.
func (r *reference) check() string {
	return algorithm + hex.EncodeToString(r.digest[:]) + ":" + strconv.Itoa(r.size)
}

// claimed reports whether the body of env is said to be elsewhere.
func claimed(env *sixfold.Envelope) bool {
	return len(env.Headers) > 0 && env.Headers[dataref.Check] != ""
}

// in answers a copy of env that carries the reference in place of the body. The body is empty and not nil, which is a tombstone on
// some brokers.
func (r *reference) in(env *sixfold.Envelope, base string) *sixfold.Envelope {
	c := *env
	c.Headers = make(map[string]string, len(env.Headers)+2)
	maps.Copy(c.Headers, env.Headers)
	c.Headers[dataref.Ref] = base + r.name
	c.Headers[dataref.Check] = r.check()
	c.Body = []byte{}
	return &c
}

// without answers headers without the reference.
func without(headers map[string]string) map[string]string {
	var c map[string]string
	for k, v := range headers {
		if k == dataref.Ref || k == dataref.Check {
			continue
		}
		if c == nil {
			c = make(map[string]string, len(headers))
		}
		c[k] = v
	}
	return c
}

// read takes the reference out of an envelope that has one. Everything about it may be hostile. Errors say what to do.
func read(env *sixfold.Envelope, base string, maxBody int) (*reference, error) {
	if len(env.Body) > 0 {
		return nil, fmt.Errorf("the message has a body of %d bytes and a reference to another; send one of them", len(env.Body))
	}
	rest, ok := strings.CutPrefix(env.Headers[dataref.Check], algorithm)
	sum, size, ok2 := strings.Cut(rest, ":")
	r := &reference{}
	if !ok || !ok2 || !isHex(sum) || len(sum) != hexDigits {
		return nil, fmt.Errorf("attribute %q is not %q, a digest in lower-case hexadecimal, a colon and a size; let Sixfold write it", dataref.Check, algorithm)
	}
	if _, err := hex.Decode(r.digest[:], []byte(sum)); err != nil {
		return nil, fmt.Errorf("attribute %q: %w", dataref.Check, err)
	}
	n, err := strconv.ParseInt(size, 10, 64)
	switch {
	case err != nil || n < 1 || strconv.FormatInt(n, 10) != size:
		return nil, fmt.Errorf("attribute %q has no size in bytes behind its second colon; let Sixfold write it", dataref.Check)
	case n > int64(maxBody):
		return nil, fmt.Errorf("the body has %d bytes, the limit is %d; send less, or raise Options.MaxBody of package claimcheck here", n, maxBody)
	}
	r.size = int(n)
	if r.name, ok = strings.CutPrefix(env.Headers[dataref.Ref], base); !ok {
		return nil, fmt.Errorf("attribute %q does not begin with %q, and nothing else is followed; give producers and consumers one Options.Base", dataref.Ref, base)
	}
	if err := checkName(r.name); err != nil {
		return nil, fmt.Errorf("attribute %q: %w", dataref.Ref, err)
	}
	if r.name[len(dayForm)+1:] != sum {
		return nil, errors.New("the names of blob and digest differ; let Sixfold write both")
	}
	return r, nil
}

// checkName says what is wrong with the name of a blob: it may become part of a path, or of a URL.
func checkName(name string) error {
	if len(name) == nameBytes {
		day, sum := name[:len(dayForm)], name[len(dayForm)+1:]
		if t, err := time.Parse(dayForm, day); err == nil && t.Format(dayForm) == day && name[len(dayForm)] == '/' && isHex(sum) {
			return nil
		}
	}
	return fmt.Errorf("%w name of a blob: it is not a day, a slash and %d hexadecimal digits, as in %q; let Sixfold write it", sixfold.ErrInvalid, hexDigits, dayForm+"/9f86d0…")
}

func isHex(s string) bool {
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

// verify says why data is not the body.
func (r *reference) verify(data []byte) error {
	if len(data) != r.size {
		return fmt.Errorf("the blob %s has not the %d bytes that were stored; restore it, and send the message again", r.name, r.size)
	}
	if sha256.Sum256(data) != r.digest {
		return fmt.Errorf("the blob %s has another digest: it was changed after it was stored; restore it, and send the message again", r.name)
	}
	return nil
}
