package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold/bus"
)

// classify puts an error of the client or a broker into one of bus's kinds. What it does not know is an outage.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bus.ErrRefused), errors.Is(err, bus.ErrUnavailable), errors.Is(err, bus.ErrUnroutable), errors.Is(err, bus.ErrTooLarge), errors.Is(err, bus.ErrClosed):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
	case insecure(err):
		return fmt.Errorf("%w: %w; check the certificates, and that address and listener agree about TLS", bus.ErrRefused, err)
	}
	var code *kerr.Error
	if errors.As(err, &code) {
		return fromBroker(code, err)
	}
	var early *kgo.ErrFirstReadEOF
	if errors.As(err, &early) {
		return fmt.Errorf("%w: the broker closed the connection at once: %w; unless it is just starting or stopping, check that address and listener agree about TLS, and that it knows the SASL mechanism", bus.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
}

// fromBroker knows the error codes of the protocol.
func fromBroker(code *kerr.Error, err error) error {
	switch code {
	case kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState:
		return fmt.Errorf("%w: %w; check user, password or token, and the mechanism", bus.ErrRefused, err)
	case kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed:
		return fmt.Errorf("%w: %w; check the rights of the user (docs/transport-kafka.md lists them)", bus.ErrRefused, err)
	case kerr.InvalidTopicException, kerr.InvalidGroupID, kerr.InvalidPartitions, kerr.InvalidReplicationFactor, kerr.InvalidConfig, kerr.InvalidRequest,
		kerr.PolicyViolation, kerr.UnsupportedVersion, kerr.InvalidSessionTimeout, kerr.InconsistentGroupProtocol, kerr.UnsupportedAssignor,
		kerr.FencedInstanceID, kerr.UnreleasedInstanceID, kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.CorruptMessage, kerr.UnsupportedCompressionType,
		kerr.InvalidRequiredAcks, kerr.SecurityDisabled, kerr.GroupMaxSizeReached:
		return fmt.Errorf("%w: %w", bus.ErrRefused, err)
	case kerr.UnknownTopicOrPartition, kerr.UnknownTopicID:
		return fmt.Errorf("%w: %w; declare the topic", bus.ErrUnroutable, err)
	case kerr.MessageTooLarge, kerr.RecordListTooLarge:
		return fmt.Errorf("%w: %w; raise max.message.bytes of the topic", bus.ErrTooLarge, err)
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
