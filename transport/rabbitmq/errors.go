package rabbitmq

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"regexp"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
)

// classify puts an error of the client or the node into one of bus's kinds. What it does not know is an outage.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bus.ErrRefused), errors.Is(err, bus.ErrUnavailable), errors.Is(err, bus.ErrUnroutable), errors.Is(err, bus.ErrClosed):
		return err
	case insecure(err):
		return fmt.Errorf("%w: %w; check the certificates, and that address and listener agree about TLS", bus.ErrRefused, err)
	case errors.Is(err, amqp.ErrSASL):
		return fmt.Errorf("%w: %w; set Options.SASL to a mechanism that the node offers", bus.ErrRefused, err)
	}
	var missing *fs.PathError // of a certificate file
	if errors.As(err, &missing) {
		return fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	if code := codeOf(err); code != 0 {
		return fromNode(code, err)
	}
	return fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
}

// codeOf is the reply code that the node itself gave, or 0. The client makes errors with codes too, where it only guesses.
func codeOf(err error) int {
	var e *amqp.Error
	if errors.As(err, &e) && e.Server {
		return e.Code
	}
	return 0
}

// fromNode knows the reply codes of AMQP 0-9-1, section 1.2, as RabbitMQ uses them.
func fromNode(code int, err error) error {
	text := err.Error()
	switch {
	case code == amqp.AccessRefused:
		return fmt.Errorf("%w: %w; check user, password and rights", bus.ErrRefused, err)
	case code == amqp.NotAllowed && !strings.Contains(text, "limit"): // of connections: somebody may leave
		return fmt.Errorf("%w: %w; check the virtual host and the user's access to it", bus.ErrRefused, err)
	case code == amqp.PreconditionFailed:
		return fmt.Errorf("%w: %w; what is there has other properties: delete it, change Options.Queue or Options.Exchange, or a group is ordered in one process and not in another", bus.ErrRefused, err)
	case code == amqp.NotFound && strings.Contains(text, "no exchange"):
		return fmt.Errorf("%w: %w; declare the topic", bus.ErrUnroutable, err)
	case code == amqp.NotImplemented, code == amqp.SyntaxError, code == amqp.FrameError, code == amqp.CommandInvalid:
		return fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	return fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
}

// insecure reports whether the two sides do not agree about TLS.
func insecure(err error) bool {
	var remote *net.OpError // which crypto/tls makes of an alert
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	return errors.As(err, &remote) && remote.Op == "remote error" || errors.As(err, &record) || errors.As(err, &verify) ||
		errors.As(err, &host) || errors.As(err, &authority)
}

var (
	blamedExchange = regexp.MustCompile(`exchange '([^']*)' in vhost`)
	blamedSize     = regexp.MustCompile(`message size (\d+)`)
)
