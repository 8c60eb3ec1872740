package inbox

import (
	"crypto/sha256"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// RecordOf is the record of an envelope: its identity is issuer and id, both of any length. The issuer is the owner of the key
// that signed the envelope, where that was verified, with a NUL in front; else the source. No source has a NUL, so what only
// claims to be somebody's never takes the place of what is.
func RecordOf(env *sixfold.Envelope) Record {
	r := Record{Key: env.Key}
	var space [256]byte
	b := space[:0]
	if owner := env.Issuer(); owner != "" {
		b = append(append(b, 0), owner...)
	} else {
		b = append(b, env.Source...)
	}
	b = append(append(b, 0), env.ID...)
	sum := sha256.Sum256(b)
	copy(r.Message[:], sum[:])
	h := sha256.New()
	h.Write(append(append(b[:0], env.Type...), 0))
	h.Write(env.Body)
	copy(r.Digest[:], h.Sum(b[:0]))
	return r
}

// records makes the records of deliveries, each message once; places says for each delivery where its record is.
func records(ds []*bus.Delivery) (recs []Record, places []int) {
	recs, places = make([]Record, 0, len(ds)), make([]int, len(ds))
	at := make(map[[16]byte]int, len(ds))
	for i, d := range ds {
		r := RecordOf(&d.Envelope)
		p, known := at[r.Message]
		if !known {
			p = len(recs)
			at[r.Message] = p
			recs = append(recs, r)
		}
		places[i] = p
	}
	return recs, places
}
