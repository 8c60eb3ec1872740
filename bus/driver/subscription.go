package driver

import (
	"errors"
	"fmt"

	"github.com/sixfold-go/sixfold/bus"
)

// DefaultInFlight is a subscription's MaxInFlight where that is 0.
const DefaultInFlight = 1000

// CheckSubscription says everything that is wrong with a subscription, as bus.ErrRefused. checkTopic says what is wrong with a
// topic at this broker, and more what else is wrong for this driver.
func CheckSubscription(sub bus.Subscription, checkTopic func(topic string) error, more ...error) error {
	var errs []error
	if len(sub.Topics) == 0 {
		errs = append(errs, errors.New("there is no topic; name at least one"))
	}
	seen := make(map[string]bool, len(sub.Topics))
	for _, topic := range sub.Topics {
		if err := checkTopic(topic); err != nil {
			errs = append(errs, err)
		}
		if seen[topic] {
			errs = append(errs, fmt.Errorf("topic %s is there twice; name it once", Quote(topic)))
		}
		seen[topic] = true
	}
	if sub.MaxInFlight < 0 {
		errs = append(errs, fmt.Errorf("MaxInFlight is negative (%d); leave it 0 for 1,000", sub.MaxInFlight))
	}
	if err := errors.Join(append(errs, more...)...); err != nil {
		return fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	return nil
}

// Quote shows a name in an error, cut to 64 characters.
func Quote(s string) string {
	if r := []rune(s); len(r) > 64 {
		s = string(r[:64]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
