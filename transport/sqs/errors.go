package sqs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/sixfold-go/sixfold/bus"
)

// Codes of both services, in both of their protocols.
var (
	missingCodes = []string{"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "NotFound", "NotFoundException"}
	// Nobody whom the service knows has signed the request.
	strangerCodes = []string{"InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException", "InvalidSignature",
		"ExpiredToken", "ExpiredTokenException", "RequestExpired", "IncompleteSignature", "IncompleteSignatureException", "MissingAuthenticationToken",
		"MissingAuthenticationTokenException", "InvalidAccessKeyId", "OptInRequired", "InvalidToken", "AuthFailure", "NotSignedUp", "InvalidSecurity"}
	deniedCodes    = []string{"AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException", "KMSAccessDenied", "KmsAccessDenied"}
	throttledCodes = []string{"RequestThrottled", "ThrottlingException", "Throttling", "ThrottledException", "Throttled", "TooManyRequestsException",
		"RequestLimitExceeded", "SlowDown", "OverLimit", "KMSThrottling", "KmsThrottled"}
	// The receipt handle settles nothing any more.
	staleCodes = []string{"ReceiptHandleIsInvalid", "MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", "InvalidParameterValue",
		"InvalidIdFormat"}
)

var errTransportClosed = fmt.Errorf("%w: the transport was closed; make another", bus.ErrClosed)

// code is that of the service's answer; empty: it gave none.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func missing(err error) bool { return slices.Contains(missingCodes, code(err)) }

// answered reports whether the service has answered with an error, so that nothing is in doubt.
func answered(err error) bool {
	var response *smithyhttp.ResponseError
	return code(err) != "" && errors.As(err, &response) && response.HTTPStatusCode() != 0
}

// classify puts an error of the client into one of bus's kinds. What it does not know is an outage.
func classify(err error) error {
	if err == nil {
		return nil
	}
	for _, kind := range []error{bus.ErrRefused, bus.ErrUnavailable, bus.ErrUnroutable, bus.ErrClosed} {
		if errors.Is(err, kind) {
			return err
		}
	}
	switch c := code(err); {
	case slices.Contains(missingCodes, c):
		return fmt.Errorf("%w: %w", bus.ErrUnroutable, err)
	case slices.Contains(throttledCodes, c):
		return fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
	case slices.Contains(strangerCodes, c):
		return fmt.Errorf("%w the credentials: %w", bus.ErrRefused, err)
	case slices.Contains(deniedCodes, c):
		return fmt.Errorf("%w: %w; grant the action to the role", bus.ErrRefused, err)
	}
	if insecure(err) {
		return fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) && code(err) != "" {
		if status := response.HTTPStatusCode(); status >= 400 && status < 500 && status != 408 && status != 429 {
			return fmt.Errorf("%w: %w", bus.ErrRefused, err)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: there was no answer in time", bus.ErrUnavailable)
	}
	return fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
}

// entryError is what a batch's answer says about one entry.
func entryError(c, message *string, sender bool) error {
	name, text := value(c), value(message)
	said := fmt.Errorf("%s: %s", name, cut(text, 200))
	switch {
	case slices.Contains(strangerCodes, name) || slices.Contains(deniedCodes, name):
		return fmt.Errorf("%w: %w", bus.ErrRefused, said)
	case slices.Contains(throttledCodes, name) || !sender:
		return fmt.Errorf("%w: %w", bus.ErrUnavailable, said)
	}
	return fmt.Errorf("%w: %w", bus.ErrRefused, said)
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// insecure reports whether the two sides do not agree about TLS.
func insecure(err error) bool {
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	return errors.As(err, &record) || errors.As(err, &verify) || errors.As(err, &host) || errors.As(err, &authority)
}
