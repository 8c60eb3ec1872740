// Package bustest is the conformance suite of a broker driver: one named case per sentence of the contract in package
// bus (Transport, Sender, Pending, Source, Delivery, the errors). A driver runs it in its own tests:
//
//	func TestConformance(t *testing.T) {
//		bustest.Run(t, bustest.Config{}, func(tb testing.TB) bustest.Harness {
//			server := startServer(tb)
//			return bustest.Harness{
//				Connect:  func(tb testing.TB) bus.Transport { return connect(tb, server) },
//				NewTopic: func(tb testing.TB) string { return server.createTopic(tb) },
//				Cut:      server.Cut,
//				…
//			}
//		})
//	}
//
// A failure quotes the sentence, says what happened instead, and what a driver does about it. Cases that the driver's
// Capabilities exclude are skipped by name; cases that the harness cannot play fail, unless Config.NotApplicable names
// them with a reason.
//
// The suite sleeps nowhere: it waits for deliveries, bounded by Config.Patience, and for their absence during
// Config.Quiet. It runs in a testing/synctest bubble where the driver does. Package broken holds, for each case, a
// driver that fails that case and no other.
package bustest
