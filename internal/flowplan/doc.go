// Package flowplan is what a flow does, without doing it: a plan of steps, the state of one instance, and what follows when
// something happens to it. It reads no clock, sends nothing and stores nothing. Package saga/flow gives it messages, and
// package saga a transaction.
//
//	effects := plan.Begin(&state, conditions)
//	effects = plan.Apply(&state, event, conditions)
package flowplan
