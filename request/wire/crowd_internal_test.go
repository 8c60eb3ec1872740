package wire

import "testing"

// Some who send soon after one another are a crowd, until nobody has anything to send along for a while; who sends now and then is none.
func TestCrowd(t *testing.T) {
	var c Crowd
	at := int64(1_000_000)
	for range 100 {
		if at += soon + 1; c.comes(at) {
			t.Fatal("one who sends now and then is a crowd")
		}
	}
	for n := 1; n < nearby; n++ {
		if at++; c.comes(at) {
			t.Fatalf("%d are a crowd", n)
		}
	}
	if at++; !c.comes(at) {
		t.Fatalf("%d are no crowd", nearby)
	}
	for range 100 {
		for range forsake - 1 {
			c.Sent(1)
		}
		c.Sent(2)
	}
	if !c.comes(at + soon + 1) {
		t.Fatal("it was over while there were others now and then")
	}
	for range forsake {
		c.Sent(1)
	}
	if at += soon + 1; c.comes(at) {
		t.Fatal("it goes on with nobody there")
	}
	if at++; c.comes(at) { // the count begins again
		t.Fatal("one is a crowd")
	}
}
