// Package middleware has what most services put around their handlers, each as a sixfold.Middleware: for a mediator, for a
// consumer, for a route, in any order.
//
//	breaker, err := middleware.NewBreaker("card service", nil)
//	…
//	m, err := mediator.New(&mediator.Options{Middleware: []sixfold.Middleware{
//		middleware.Recover(), middleware.Logging(log), breaker.Middleware(),
//	}}, routes...)
//
// The first in a list is the outermost: it sees what all others make of a message. What has to be configured is made by a
// function that says what is wrong with it. Only and Except choose messages. All of it is safe for concurrent use.
package middleware
