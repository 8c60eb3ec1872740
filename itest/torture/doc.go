// Command torture proves Sixfold: it publishes, relays and consumes messages in processes of their own, kills, freezes, stops
// and restarts them, the database and the broker from a printed seed, and then compares what became of every message with a
// ledger that knows nothing of Sixfold's tables.
//
//	go run ./torture -n 20000 -faults 15
//	go run ./torture -n 1000000 -faults 200 -seed 7
//
// The ledger (schema.go) is a counter per key, which each business transaction raises; a row per committed transaction; the
// handlers' effects, in a table without any unique constraint; what the publisher was told about each transaction, in a
// file outside the database; and what the broker took, in files that a tap in the relays writes. The checker (check.go)
// finds messages lost, applied twice, made up or out of order, wrong answers about commits, and what a planned stop sent
// again. A run also fails unless enough went wrong in it: see Need in options.go.
//
// Handlers fail (fate.go): some messages a few times, some always, some end their process. What always fails becomes a dead
// letter, and the rest of its key waits. When all is quiet, exactly those must be dead; then the handlers are repaired, all
// dead letters are sent again by a process that is killed once (redrive.go), and in the end every message has its one
// effect, in order, and nothing is parked any more. A run that comes to its bound is no verdict on what was on its way.
//
// Exit codes: 0 the run proved what it should, 1 it did not, 2 the arguments were wrong.
package main
