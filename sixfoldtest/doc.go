// Package sixfoldtest is for tests of programs that use Sixfold: a database and a broker in the process, a look at what
// was published, deliveries by hand, and a way to wait until nothing is left to do.
//
//	kit := sixfoldtest.New("orders")
//	…                                        // the program, with kit.DB, kit.Outbox, kit.Inbox and kit.Broker
//	app := kit.Start(t, relay, shipping)
//	…                                        // what is tested
//	if err := sixfoldtest.Quiet(ctx, app); err != nil {
//		t.Fatal(err)
//	}
//	placed := sixfoldtest.Published[OrderPlaced](t, kit.Outbox)
//
// All of it works in a testing/synctest bubble, where hours of retries take no time. A program with a database of its
// own is tested the same way: Record watches any store.
package sixfoldtest
