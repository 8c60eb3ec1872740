package signature

import (
	"errors"
	"fmt"
)

// Errors of Verify. Each says what to do; none has anything of the message's body in it.
var (
	// ErrUnsigned says that there is no signature.
	ErrUnsigned = errors.New("the message is not signed; give its publisher a Signer, or do not verify what it sends")
	// ErrMalformed says that the signature, or the headers it covers, cannot be read.
	ErrMalformed = errors.New("the signature cannot be read")
	// ErrUnknownKey says that the key is none of those that are accepted, or was not when it signed.
	ErrUnknownKey = errors.New("the key is not accepted")
	// ErrForged says that the signature is not that of the message: something was changed, or it was never signed by the key's owner.
	ErrForged = errors.New("the signature does not belong to the message: it was changed on its way, or somebody else wrote it")
	// ErrStale says that it was signed too long ago, or in the future.
	ErrStale = errors.New("it was not signed within the time that is accepted")
	// ErrAudience says that it is meant for somebody else.
	ErrAudience = errors.New("the message is meant for another audience")
)

func malformed(why string) error {
	return fmt.Errorf("%w: %s; let package signature, or what docs/protocol.md says, write it", ErrMalformed, why)
}
