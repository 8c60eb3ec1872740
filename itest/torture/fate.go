package main

import (
	"fmt"
	"hash/fnv"
)

// fate is what a consumer's handler does with a message, as a hash of seed, consumer and message decides, so that the checker
// knows it too.
type fate struct {
	fails   int  // its first attempts fail
	always  bool // all of them fail until the handlers are repaired
	crashes bool // the second attempt ends the process
	early   bool // it fails before its effect, else after it
	outage  int  // 1 and 2: once it meets what looks like the infrastructure's own failure
}

// Of ten thousand messages: those that fail some times, those that always fail, and those of outages. A few of the first
// crash their process.
const (
	failOnce  = 250
	failTwice = 400
	failOften = 500
	crashFrom = 498
	failEver  = 600
	outages   = 700
)

// fate of message n of key at consumer. Without Failing three in a hundred fail once, after their effect.
func (o *Options) fate(consumer, key string, n int64) fate {
	if o.Calm {
		return fate{}
	}
	h := fnv.New64a()
	fmt.Fprint(h, o.Seed, " ", consumer, " ", key, " ", n)
	sum := h.Sum64()
	sum ^= sum >> 29 // the low bits of FNV are its worst
	f := fate{early: sum>>40&1 == 1}
	switch draw := sum % 10_000; {
	case !o.Failing:
		if f.early = false; draw < 300 {
			f.fails = 1
		}
	case draw < failOnce:
		f.fails = 1
	case draw < failTwice:
		f.fails = 2
	case draw < failOften:
		f.fails, f.crashes = 3, draw >= crashFrom && sum>>44%o.crashEvery() == 0
	case draw < failEver:
		f.always = o.mayDie(key, n)
	}
	if draw := sum % 10_000; draw >= failEver && draw < outages {
		f.outage = 1 + int(draw%2)
	}
	return f
}

// crashEvery is the share of those that may crash which do: a crash costs a lease, and a million messages need no more of them than
// ten thousand.
func (o *Options) crashEvery() uint64 { return 1 + uint64(o.Messages)/25_000 }

// mayDie says where a message may fail for ever. What follows it waits, and only so many may: so it is among the last of its
// key, and not of the hot one.
func (o *Options) mayDie(key string, n int64) bool {
	return key != hotKey && n > int64(o.Messages*9/10/o.Keys)-25
}

// doomed are the messages that always fail, of keys with as many messages as counters says.
func (o *Options) doomed(counters map[string]int64) (out []Effect) {
	if !o.Failing {
		return nil
	}
	for _, x := range expected() {
		for key, last := range counters {
			for n := int64(1); n <= last; n++ {
				if x.wants(n) && o.fate(x.Name, key, n).always {
					out = append(out, Effect{Consumer: x.Name, Key: key, N: n})
				}
			}
		}
	}
	return out
}
