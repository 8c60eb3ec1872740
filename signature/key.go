package signature

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sixfold-go/sixfold"
)

// Limits of what a signature holds.
const (
	MaxKeyID    = 64  // bytes of a key's id
	MaxAudience = 255 // bytes of an audience
)

// A SigningKey is what a service signs with. Printing one shows its id and nothing else.
type SigningKey struct {
	// ID names the key to those who verify: 1 to 64 letters, digits, '.', '_' and '-'. A new key gets a new id.
	ID string
	// Private is the key itself.
	Private ed25519.PrivateKey
}

// Format prints the id for every verb, so that no verb shows the key.
func (k SigningKey) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "signing key %q", k.ID) }

// LogValue implements slog.LogValuer: the id.
func (k SigningKey) LogValue() slog.Value { return slog.StringValue(k.ID) }

// MarshalJSON refuses, so that no log in JSON shows the key.
func (k SigningKey) MarshalJSON() ([]byte, error) {
	return nil, invalid("signing key %q: it has no JSON form; keep private keys apart from what is encoded", k.ID)
}

// A VerifyKey is a key whose signatures are accepted.
type VerifyKey struct {
	// ID that signatures name it by.
	ID string
	// Owner is the service whose key it is: the issuer of what it signs. An owner may have several keys.
	Owner string
	// Public is the key itself.
	Public ed25519.PublicKey
	// NotBefore and NotAfter bound the times at which it may have signed; zero: no bound. Who has stolen a key can write any time
	// into a signature: take such a key out of the list.
	NotBefore, NotAfter time.Time
}

func (k *SigningKey) check() error {
	errs := []error{checkKeyID(k.ID)}
	if len(k.Private) != ed25519.PrivateKeySize {
		errs = append(errs, invalid("signing key %.64q: it has %d bytes; give the %d bytes of an Ed25519 private key", k.ID, len(k.Private), ed25519.PrivateKeySize))
	} else if !ed25519.NewKeyFromSeed(k.Private.Seed()).Equal(k.Private) {
		errs = append(errs, invalid("signing key %.64q: its public half does not belong to its private half; make it with ed25519.NewKeyFromSeed", k.ID))
	}
	return errors.Join(errs...)
}

func (k *VerifyKey) check() error {
	errs := []error{checkKeyID(k.ID)}
	switch {
	case len(k.Public) != ed25519.PublicKeySize:
		errs = append(errs, invalid("key %.64q: it has %d bytes; give the %d bytes of an Ed25519 public key", k.ID, len(k.Public), ed25519.PublicKeySize))
	case allZero(k.Public):
		errs = append(errs, invalid("key %.64q: all its bytes are zero; give the public key", k.ID))
	}
	if k.Owner == "" || len(k.Owner) > sixfold.MaxName || !printable(k.Owner) {
		errs = append(errs, invalid("key %.64q: its owner is %.64q; name the service whose key it is, with 1 to %d bytes of printable ASCII without spaces", k.ID, k.Owner, sixfold.MaxName))
	}
	if !k.NotAfter.IsZero() && !k.NotAfter.After(k.NotBefore) {
		errs = append(errs, invalid("key %.64q: NotAfter %v is not after NotBefore %v; give the interval in which it signs", k.ID, k.NotAfter, k.NotBefore))
	}
	return errors.Join(errs...)
}

// signedAt reports whether the key may have signed at t.
func (k *VerifyKey) signedAt(t time.Time) bool {
	return (k.NotBefore.IsZero() || !t.Before(k.NotBefore)) && (k.NotAfter.IsZero() || !t.After(k.NotAfter))
}

func checkKeyID(id string) error {
	if !isKeyID(id) {
		return invalid("key id %.64q: give 1 to %d letters, digits, '.', '_' and '-'", id, MaxKeyID)
	}
	return nil
}

func isKeyID(id string) bool {
	if id == "" || len(id) > MaxKeyID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func checkAudience(a string) error {
	if !isAudience(a) {
		return invalid("audience %.64q: give 1 to %d bytes of printable ASCII without spaces, like the name of the system or of the service that is meant", a, MaxAudience)
	}
	return nil
}

func isAudience(a string) bool { return a != "" && len(a) <= MaxAudience && printable(a) }

// printable reports whether s is ASCII that can be seen.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("signature: %w "+format, append([]any{sixfold.ErrInvalid}, args...)...)
}
