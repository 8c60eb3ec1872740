// Package demo is a small shop of three services, each with a database of its own: orders takes orders, payments charges
// them, shipping sends them, and orders notes that they went out. Every step is a handler that writes its row and its
// next message in one transaction.
//
//	orders ──OrderPlaced──▶ payments ──PaymentTaken──▶ shipping ──OrderShipped──▶ orders
//
// The relays of all three run in a child process that is killed (SIGKILL) with messages in flight, several times. At the
// end the tables of the services are compared: they know nothing of Sixfold, and have no unique constraint that could hide
// a message that took effect twice.
package demo
