package nats

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold/bus"
)

// Codes of JetStream's API that jetstream has no constant for.
const (
	codeMessageTooLarge = 10054
	codeSubjectsOverlap = 10065
)

// errTimeout is a request that the server did not answer in time, though ctx of the caller lasts.
var errTimeout = errors.New("the server did not answer in time")

// classify puts an error of the client into one of bus's kinds. What it does not know is an outage.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bus.ErrRefused), errors.Is(err, bus.ErrUnavailable), errors.Is(err, bus.ErrUnroutable), errors.Is(err, bus.ErrClosed):
		return err
	case notAllowed(err), insecure(err):
		return fmt.Errorf("%w: %w", bus.ErrRefused, err)
	case noJetStream(err):
		return fmt.Errorf("%w: %w; is JetStream enabled for the server and the account?", bus.ErrUnavailable, err)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%w: %w", bus.ErrUnroutable, err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", bus.ErrUnavailable, errTimeout)
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && api.Code >= 400 && api.Code < 500 && api.Code != 408 && api.Code != 429 {
		return fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	var missing *fs.PathError // of a credentials, certificate or nkey file
	if errors.As(err, &missing) {
		return fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	return fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
}

// noJetStream reports whether nobody serves JetStream's API. A server that shuts down says so as well as one that is set up
// without it, so this has to count as an outage.
func noJetStream(err error) bool {
	return errors.Is(err, natsgo.ErrNoResponders) || errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount)
}

// notAllowed reports whether credentials or rights are the reason.
func notAllowed(err error) bool {
	for _, e := range []error{natsgo.ErrAuthorization, natsgo.ErrAuthExpired, natsgo.ErrAuthRevoked, natsgo.ErrPermissionViolation,
		natsgo.ErrAccountAuthExpired, natsgo.ErrNkeysNotSupported, natsgo.ErrNkeyButNoSigCB, natsgo.ErrNoUserCB} {
		if errors.Is(err, e) {
			return true
		}
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.Code == 401 || api.Code == 403)
}

// insecure reports whether the two sides do not agree about TLS.
func insecure(err error) bool {
	var remote *net.OpError // which crypto/tls makes of an alert
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	return errors.Is(err, natsgo.ErrTLS) || errors.Is(err, natsgo.ErrSecureConnWanted) || errors.Is(err, natsgo.ErrSecureConnRequired) || errors.As(err, &remote) && remote.Op == "remote error" ||
		errors.As(err, &record) ||
		errors.As(err, &verify) || errors.As(err, &host) || errors.As(err, &authority)
}
