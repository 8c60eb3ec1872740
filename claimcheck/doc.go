// Package claimcheck lets bodies travel that are too large for a broker: they go to a blob store, and the message carries a
// reference with a digest. It wraps a transport, so that every driver, relay, publisher and consumer has it.
//
//	blobs, err := claimcheck.NewDir("/srv/blobs")
//	…
//	broker, err := claimcheck.Wrap(natsBroker, blobs, nil)
//	…
//	relay, err := outbox.NewRelay(st.Outbox(), broker, nil)
//
// Producers and consumers both wrap their transports, over stores that hold the same blobs. Bodies below the threshold travel as
// before. A handler sees no difference: the body is there, and the reference is gone.
//
// # On the wire
//
// A message whose body is elsewhere has two attributes, and an empty body. "dataref" is that of the extension "Dataref (Claim Check
// Pattern)" of CloudEvents: Options.Base and the blob's name, as in "sixfold-blob:2026-11-22/9f86d0…". "sixfolddata" is
// "sha256:<digest in hexadecimal>:<size in bytes>". A name is the day of the upload and the digest, so that nobody can name a blob whose
// content he does not know, and a body that is sent again is stored once a day.
//
// A reference without "sixfolddata" is some other system's: it stays the header that it is, and nobody follows it.
//
// # When the blob is not there
//
// A blob that is missing, has another digest, or has a reference that breaks a rule makes a damaged delivery: a dead letter that says
// what to do. A store that cannot be reached is nobody's fault: senders answer bus.ErrUnavailable, and sources hold the
// message, with the later ones of its key, until the store is back.
package claimcheck
