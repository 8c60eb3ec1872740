package request

import (
	"context"
	"errors"
)

// A Lane carries requests to responders and replies back to who asked. Drivers implement it, and requesttest.Run checks
// each sentence here. It is safe for concurrent use, and never repeats what it could not hand over.
//
// Errors wrap those of package bus: bus.ErrUnavailable for an outage, bus.ErrRefused for what will not mend,
// bus.ErrTooLarge, bus.ErrClosed.
type Lane interface {
	// Capabilities says what the lane can see. The answer never changes.
	Capabilities() Capabilities
	// Open opens a caller's port: an address of its own to which replies come until it is closed or lost. It returns when
	// replies can come, or when ctx has ended.
	Open(ctx context.Context, in Replies) (Port, error)
	// Listen takes the requests to destinations until the ear is closed or lost. Each request goes to one of those who
	// listen at its destination, each packet that is ToAll to all of them. It returns when requests can come, or when ctx has ended.
	Listen(ctx context.Context, destinations []string, in Requests) (Ear, error)
	// Check says why a destination cannot be used on this lane. Its error wraps sixfold.ErrInvalid.
	Check(destination string) error
}

// Capabilities of a lane.
type Capabilities struct {
	// Name of the lane, for people.
	Name string
	// DetectsLoss says that Lost is called when what lies between is lost. Else calls that wait then end with their deadline.
	DetectsLoss bool
	// DetectsGoneCaller says that Answer reports a caller that has gone as ErrGone.
	DetectsGoneCaller bool
	// DetectsNoResponder says that a request to a destination where nobody listens is given back by Undeliverable.
	DetectsNoResponder bool
	// Cancels says that cancellations are carried to responders.
	Cancels bool
	// Streams says that the lane carries streams of items: what one goroutine has an ear answer to one port arrives there in that order, taken by
	// one goroutine at a time, and credit is carried as cancellations are.
	Streams bool
	// Scatters says that a request of KindScatter is carried to all who listen, as cancellations are.
	Scatters bool
	// MaxBody is the largest body in bytes. 0: unknown.
	MaxBody int
}

// Replies are what a Port tells. The functions are called by the lane's goroutines, several at a time, never before Open
// returns an error and never after Close has returned; they do not block. A packet belongs to the function it is given to.
type Replies struct {
	// Take takes a packet that came to the port's address, whatever it is.
	Take func(p *Packet)
	// Undeliverable says that the request with this id, or what belongs to it, reached nobody.
	Undeliverable func(request string)
	// Lost says that no reply can come any more. It is called at most once, and not for a Close; the port still has to be closed.
	Lost func(err error)
}

// A Port is the caller's side.
type Port interface {
	// Ask hands a packet for a responder to the connection. It does not wait for the other side, and returns soon after ctx
	// has ended; what was not written by ctx's deadline is never sent. It changes nothing of p and keeps nothing of it but the body.
	Ask(ctx context.Context, to string, p *Packet) error
	// Close ends the port and returns when nothing of it runs any more.
	Close(ctx context.Context) error
}

// Requests are what an Ear hears, under the rules of Replies.
type Requests struct {
	// Take takes a packet that came to a destination, whatever it is.
	Take func(destination string, p *Packet)
	// Lost says that no request can come any more. It is called at most once, and not for a Close.
	Lost func(err error)
}

// An Ear is the responder's side.
type Ear interface {
	// Answer hands a reply or an item to the connection, to the address from which request came. It does not wait for the caller, and
	// returns soon after ctx has ended. It changes nothing of request and reply and keeps nothing of them but reply's body. It may be
	// called until Close is, also after StopListening.
	Answer(ctx context.Context, request, reply *Packet) error
	// StopListening takes no more requests, and returns when those on their way to this process have been handed to Take.
	// Cancellations, and what goes their way, may still come.
	StopListening(ctx context.Context) error
	// Close ends the ear and returns when nothing of it runs any more.
	Close(ctx context.Context) error
}

// ErrGone is what Answer reports where the lane sees that the caller has gone.
var ErrGone = errors.New("the caller has gone")
