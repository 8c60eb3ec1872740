// Package requesttest is the conformance suite of a lane: one named case per sentence about calls that a lane can break,
// Q1 to Q6 of docs/guarantees.md among them. A driver runs it in its own tests:
//
//	func TestRequestLane(t *testing.T) {
//		requesttest.Run(t, requesttest.Config{}, func(tb testing.TB) requesttest.Harness {
//			return requesttest.Harness{Connect: …, NewDestination: …, Cut: …, Restore: …, Kill: …, Put: …}
//		})
//	}
//
// Storm makes many calls over a lane on which packets are dropped, doubled, delayed and forged. TornStream is for lanes that carry streams over
// connections.
//
// Cases that the lane's Capabilities exclude say so and check what is promised in their place. The suite sleeps nowhere, and runs in a
// testing/synctest bubble where the lane does.
package requesttest
