package request

import (
	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/signature"
)

// exchange is what of a packet is signed beside its envelope.
func (p *Packet) exchange() signature.Exchange {
	return signature.Exchange{Protocol: p.Protocol, Request: p.Request, Timeout: p.Timeout, Status: p.Status, Versions: p.Versions, Number: p.Number}
}

// signable is the envelope that is signed: some kinds have none, whatever a carrier makes of that.
func (p *Packet) signable() *sixfold.Envelope {
	if p.Bare() {
		return new(sixfold.Envelope)
	}
	return &p.Envelope
}

func (p *Packet) sign(by *signature.Signer, audience string) (err error) {
	if by != nil {
		p.Signature, err = by.SignExchange(p.signable(), p.exchange(), audience)
	}
	return err
}

// sign signs what goes to responders, which is meant for its destination.
func (c *Client) sign(p *Packet, to string) error { return p.sign(c.o.Signer, to) }

// sign signs what goes to the caller, which is meant for its request.
func (r *Responder) sign(p *Packet) error { return p.sign(r.o.Signer, p.Request) }

// proves reports whether a reply is signed as it has to be. One that nobody waits for is not looked at: that is quick to send, and slow to find out.
func (c *Client) proves(p *Packet) bool {
	c.mu.Lock()
	waits := c.slots[p.Request]
	c.mu.Unlock()
	if waits == nil || p.Damaged != nil {
		return false
	}
	return c.signedRight(p)
}

// signedRight looks at the signature of what came for a call.
func (c *Client) signedRight(p *Packet) bool {
	issuer, err := c.o.Verifier.VerifyExchange(p.signable(), p.exchange(), p.Signature, p.Request)
	if err != nil {
		c.o.Logger.Debug("request: a reply is not signed as it has to be, and its call goes on waiting", "request", p.Request, "err", err)
		return false
	}
	p.Envelope.SetIssuer(issuer)
	return true
}

// takeCancel ends a request if its cancellation is signed as it has to be: for the destination of the request, since some lanes
// bring cancellations by a place of their own.
func (r *Responder) takeCancel(p *Packet) {
	key := jobKey{p.ReplyTo, p.Request}
	r.mu.Lock()
	j := r.jobs[key]
	r.mu.Unlock()
	if j == nil {
		return
	}
	if issuer, ok := r.proves(p, j.destination); ok {
		r.cancel(key, issuer)
	}
}

// proves answers who has signed a request or a cancellation; nobody has to without a Verifier.
func (r *Responder) proves(p *Packet, destination string) (issuer string, ok bool) {
	if r.o.Verifier == nil {
		return "", true
	}
	issuer, err := r.o.Verifier.VerifyExchange(p.signable(), p.exchange(), p.Signature, destination)
	if err != nil {
		r.count(&r.stats.Unauthorised)
		r.o.Logger.Warn("request: what came is not signed as it has to be", "destination", destination, "request", p.Request, "err", err)
		return "", false
	}
	return issuer, true
}
