package bus

import (
	"errors"
	"fmt"
)

var errNoIssuer = errors.New("Options.Verify answered neither an issuer nor an error; let it answer one of them")

// accept asks Options.Verify about an item and sets its issuer. What was accepted before it was parked has one, which nobody but
// this consumer's database has written; what claims one on another way loses it.
func (r *run) accept(it *item) error {
	d := it.d
	if it.claim != nil && d.Issuer() != "" {
		return nil
	}
	if d.Issuer() != "" {
		d.SetIssuer("")
	}
	if r.c.o.Verify == nil || it.claim == nil && d.Claims != nil {
		return nil
	}
	issuer, err := r.c.o.Verify(&d.Envelope)
	if err == nil && issuer == "" {
		err = errNoIssuer
	}
	if err != nil {
		return fmt.Errorf("bus: %w: %w", ErrUnauthorised, err)
	}
	d.SetIssuer(issuer)
	return nil
}
