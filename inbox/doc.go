// Package inbox makes the effect of a handler happen once per message, although brokers deliver more than once: the
// record "handled" and the effect commit in one transaction.
package inbox
