// Package schedule says when things are due: cron expressions and intervals, in the zones of their users, on both sides of
// every change of the clock.
package schedule
