// Package signature signs envelopes with Ed25519 and verifies them, so that a consumer knows who sent a message, and that nobody
// changed it on its way, whatever the broker is and whoever may write to it.
//
//	signer, err := signature.NewSigner(signature.SigningKey{ID: "shop-1", Private: private}, "orders", nil)
//	…
//	box, err := outbox.New(st.Outbox(), &outbox.Options{Seal: signer.Sign}, …)
//
// The other side names the keys that it accepts, the owner of each, and the audiences that it belongs to:
//
//	verifier, err := signature.NewVerifier([]string{"orders"}, []signature.VerifyKey{{ID: "shop-1", Owner: "shop", Public: public}}, nil)
//	…
//	consumer, err := bus.NewConsumer(broker, sub, &bus.Options{Verify: verifier.Verify}, …)
//
// A message that is not signed, not by one of these keys, for another audience, too old or changed becomes a dead letter with the
// reason "unauthorised" before any handler sees it. Of one that is accepted, the inbox records the key's owner as its issuer, and
// handlers find the owner in Envelope.Issuer.
//
// # Where things happen
//
// A message is signed when it is published: with outbox.Options.Seal in the transaction, with bus.PublisherOptions.Seal before it is sent. So a relay
// needs no key, and neither a relay nor whoever can write to the broker can make or change a message. What is written by others than
// these two (cron ticks, SQL of one's own) is signed by a relay with Signer.Middleware through bus.Through.
//
// It is verified when it arrives, before anything about it is recorded. Package request signs and verifies calls by its own options.
//
// # What a signature does not do
//
// It hides nothing: use TLS, and encrypt bodies where the broker must not read them. It does not stop a message from being delivered
// twice: the inbox does, as long as it remembers, which is why MaxAge should not be longer than inbox.Options.Retention. It says
// nothing about the order of messages.
//
// There is one algorithm and one form, version 1; docs/protocol.md has it byte by byte, with examples to test another language by. A message does not say
// how it wants to be verified.
package signature
