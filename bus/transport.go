package bus

import (
	"context"
	"errors"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Transport is what a broker driver implements. It is safe for concurrent use.
//
// Each sentence about Transport, Sender, Pending and Source is a case of the suite in package bustest.
type Transport interface {
	// Open opens a Sender. It fails at once, with ErrRefused, on refused credentials or a protocol error, and with
	// ErrUnavailable where the broker cannot be reached; it does not retry.
	Open(ctx context.Context) (Sender, error)
	// Subscribe opens a Source that is shared by every process which names the same group; without a group, a copy
	// for this process alone that begins with what is sent from now on. It fails like Open.
	Subscribe(ctx context.Context, s Subscription) (Source, error)
	// Capabilities are what the driver can keep, the same for its whole life.
	Capabilities() Capabilities
	// Close ends what the driver opened itself, never a connection or client that the user gave it. Senders and
	// sources answer ErrClosed afterwards. It is safe to call twice.
	Close(ctx context.Context) error
}

// A Sender is one pipe to the broker. Of one key, over all Sends in the order of their calls, what the broker took
// is a prefix of what the Sender was handed: when an envelope fails, every later one of its key fails too (with
// ErrBehindFailed), for the rest of the Sender's life. To begin again its owner closes it and opens another, so a
// Sender never reconnects and never repeats: nothing in flight spans two connections, and once the connection is
// lost everything fails with ErrUnavailable.
// An envelope without a key stands for itself and so does one that MayMiss and was unroutable.
//
// A driver that cannot keep the prefix states Capabilities.PrefixPerKey=false; its callers then keep one unconfirmed
// envelope per key.
//
// Send is called by one goroutine at a time; Wait of its results may run in others.
type Sender interface {
	// Send returns once the batch is handed to the connection, so that batches can follow each other without
	// waiting; it may block while the connection is full. It does not keep the slice, but it may keep the envelopes
	// until Wait has answered.
	Send(ctx context.Context, batch []Outgoing) Pending
	// Close gives the pipe up. What was not confirmed yet fails with ErrUnavailable.
	Close(ctx context.Context) error
}

// Pending is a batch that the broker has not confirmed yet.
type Pending interface {
	// Wait answers one error per envelope, in the batch's order; nil means that the broker has taken it (AMQP confirm
	// and not returned, JetStream PubAck, Kafka acks=all, SQS entry success), with the durability that it is set up for.
	// Other errors wrap ErrUnavailable, ErrUnroutable, ErrTooLarge, ErrRefused or ErrBehindFailed. When ctx ends, what is
	// still open answers ctx's error and is in doubt. Wait may be called again.
	Wait(ctx context.Context) []error
}

// Outgoing is an envelope and where it goes. Drivers read it only.
type Outgoing struct {
	Topic string
	// MayMiss says that it is no failure if the broker has no place for the topic: the driver still answers
	// ErrUnroutable, so that it can be counted, but the key goes on.
	MayMiss bool
	// Epoch is how often people had the message sent again after it had become a dead letter, 0 for nearly all. A driver
	// whose broker drops a second envelope of an id makes it part of that id; for a transport's own repeat it stays the same.
	Epoch int
	*sixfold.Envelope
}

// Errors of a driver.
var (
	// ErrUnavailable is nobody's fault: an outage. No attempt is spent on it, and it is retried for ever.
	ErrUnavailable = errors.New("the broker is not available")
	// ErrUnroutable says that the broker has no place for the topic.
	ErrUnroutable = errors.New("the broker has no place for the topic")
	// ErrTooLarge says that the envelope is over the broker's limit; its text has size and limit.
	ErrTooLarge = errors.New("the message is too large for the broker")
	// ErrRefused says that the broker, or the driver on its behalf, does not take this: credentials, rights, an illegal name.
	ErrRefused = errors.New("the broker refused")
	// ErrBehindFailed fails what was handed over behind a failed envelope of the same key.
	ErrBehindFailed = errors.New("an earlier message of the key failed")
	// ErrClosed is the answer of what has been closed.
	ErrClosed = errors.New("closed")
	// ErrIDReuse says that the id of a message was handled before with another payload: a dead letter at once.
	ErrIDReuse = errors.New("the id was handled before with another payload")
	// ErrUnauthorised says that a message does not come from whom its consumer accepts: a dead letter at once.
	ErrUnauthorised = errors.New("the message is not authorised")
	// ErrLost settles nothing: the delivery was no longer ours.
	ErrLost = errors.New("the delivery is no longer ours")
)

// Subscription says what a Source receives.
type Subscription struct {
	// Topics, at least one; none for a local destination, which is named by its group.
	Topics []string
	// Group is shared by the processes that divide the messages among them, and is the consumer's name. Empty: every
	// process gets a copy of every message, from the moment it subscribes, and none while it is away.
	Group string
	// Ordered asks that messages of one key are delivered in order, also after redelivery. A driver that cannot
	// refuses.
	Ordered bool
	// MaxInFlight bounds the deliveries handed out and not settled. 0: 1,000.
	MaxInFlight int
}

// Source is one open subscription. One goroutine calls Receive; another may call Settle and Extend meanwhile, one
// call at a time. It owns its reconnecting: while the broker is away Receive blocks.
type Source interface {
	// Receive blocks until it has at least one delivery or ctx ends, and answers at most max. An envelope that cannot
	// be read is delivered with Damaged set. Errors end the source: ErrRefused, ErrClosed, or ctx's own.
	Receive(ctx context.Context, max int) ([]*Delivery, error)
	// Settle acknowledges or releases; one error per settlement, nil when the broker took it as far as it says so.
	// What is no longer ours answers ErrLost. A released delivery comes again, soon, to whoever receives; the released
	// ones of a key come before later ones of that key where the subscription is Ordered.
	Settle(ctx context.Context, s []Settlement) []error
	// Extend keeps deliveries ours while their handlers run.
	Extend(ctx context.Context, d []*Delivery) error
	// Close gives back what was delivered and not settled. Receive and Settle answer ErrClosed afterwards.
	Close(ctx context.Context) error
}

// Delivery is one arrival of an envelope.
type Delivery struct {
	sixfold.Envelope
	// Topic that it was sent to.
	Topic string
	// Redelivered says that the broker may have delivered it before. A hint: true too often is right, true too seldom
	// is not.
	Redelivered bool
	// Attempts that are already counted durably where the source can count (a local destination); else 0.
	Attempts int
	// Damaged says why the bytes could not be read as an envelope; Body then holds them as they came.
	Damaged error
	// Token is the driver's own handle.
	Token any
	// Owned ends when the delivery is no longer ours (revoked, lease lost). Nil: it stays ours until it is settled.
	// Deliveries of one partition share one.
	Owned context.Context
	// Claims records deliveries as handled in a handler's own transaction, where the source lives in the same
	// database. Nil: the inbox does. All deliveries of a source share one.
	Claims Claims
	// Claimed is set by whoever used Claims, after the commit: Settle then has nothing left to do.
	Claimed bool
}

// Claims is how a source in the same database takes part in the handler's transaction.
type Claims interface {
	// Claim removes the deliveries in tx and says for each what it found; exactly those that are Ours may take effect. After the
	// commit they need no Settle; Settle of a claimed delivery changes nothing.
	Claim(ctx context.Context, tx sqltx.Tx, ds []*Delivery) ([]Found, error)
}

// Found is what a claim found.
type Found int

const (
	// Gone: it was claimed before, or is no longer ours.
	Gone Found = iota
	// Ours: it was there, and is removed.
	Ours
	// Behind: the same, but messages of its key are parked, and it has to wait behind them.
	Behind
)

// Settlement acknowledges a delivery, or releases it to be delivered again.
type Settlement struct {
	*Delivery
	Release bool
}

// Subscriber is the part of a Transport that a Consumer without dead topics needs.
type Subscriber interface {
	Subscribe(ctx context.Context, s Subscription) (Source, error)
	Capabilities() Capabilities
}
