package sixfold

import (
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"
)

// NewID mints a UUID of version 7 (RFC 9562, section 5.7) in its text form. Twelve bits below the millisecond
// (method 3 of section 6.2) keep those of one process in order as far as its clock is; the rest is random.
// Safe for concurrent use.
func NewID() string { return newID(time.Now()) }

// newID is NewID at an instant.
func newID(now time.Time) string {
	var u [16]byte
	random(u[8:])
	ms := now.UnixMilli()
	frac := (now.UnixNano() % 1e6) * 4096 / 1e6
	u[0], u[1], u[2], u[3], u[4], u[5] = byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms)
	u[6] = 0x70 | byte(frac>>8)
	u[7] = byte(frac)
	u[8] = 0x80 | u[8]&0x3f
	var s [36]byte
	hex.Encode(s[0:8], u[0:4])
	hex.Encode(s[9:13], u[4:6])
	hex.Encode(s[14:18], u[6:8])
	hex.Encode(s[19:23], u[8:10])
	hex.Encode(s[24:36], u[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}

// ParseID reads a UUID in its text form, of any version, in either case.
func ParseID(s string) (u [16]byte, err error) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, invalid("id %s: it is not a UUID; leave it out to have one made, or give one like %s", quote(s), "018f4d3e-7d4c-7b3a-9c0a-0123456789ab")
	}
	var h [32]byte
	copy(h[0:], s[0:8])
	copy(h[8:], s[9:13])
	copy(h[12:], s[14:18])
	copy(h[16:], s[19:23])
	copy(h[20:], s[24:36])
	if _, err := hex.Decode(u[:], h[:]); err != nil {
		return u, invalid("id %s: it is not a UUID: %v", quote(s), err)
	}
	return u, nil
}

// randomness is read in blocks, since a system call for eight bytes costs more than all the rest of NewID.
type randomness struct {
	buf  [512]byte
	left int
}

var randomnesses = sync.Pool{New: func() any { return new(randomness) }}

func random(dst []byte) {
	r := randomnesses.Get().(*randomness)
	if r.left < len(dst) {
		rand.Read(r.buf[:]) // never fails: crypto/rand ends the program where there is no randomness
		r.left = len(r.buf)
	}
	copy(dst, r.buf[r.left-len(dst):r.left])
	r.left -= len(dst)
	randomnesses.Put(r)
}
