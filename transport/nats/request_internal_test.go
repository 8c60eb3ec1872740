package nats

import (
	"fmt"
	"strings"
	"testing"
)

// Answers go to addresses of the lane's own only, and to none that would be a pattern or no subject.
func TestRequestAddresses(t *testing.T) { // guarantees: Q4
	l := &RequestLane{prefix: "sixfold", replies: "_INBOX."}
	for _, good := range []string{"_INBOX.a", "_INBOX.a.b-c_d", "_R_.a.b"} {
		if got := l.address(good); got != good {
			t.Errorf("%q became %q", good, got)
		}
	}
	for _, bad := range []string{"", "_INBOX", "_INBOX.", "_INBOX..a", "_INBOX.a..b", "_INBOX.a.", "_INBOX.*", "_INBOX.>", "_INBOX.a b", "_INBOX.a\r\n", "_INBOX.ä", "_R_.", "_R_..a", "orders.placed", "_INBOX." + strings.Repeat("x", 255)} {
		if got := l.address(bad); got != "" {
			t.Errorf("%q became %q", bad, got)
		}
	}
	for id, want := range map[string]string{"a-B_9": "a-B_9", "": "0", "a.b": "0", "*": "0", ">": "0", " ": "0", "ä": "0", strings.Repeat("x", 64): strings.Repeat("x", 64), strings.Repeat("x", 65): "0"} {
		if got := lastPart(id); got != want || id != "" && len(id) <= 64 && (token(id) == id) != (want == id) {
			t.Errorf("the last part of %q is %q, not %q", id, got, want)
		}
	}
}

// Subjects that are remembered are those of their destinations, however many there are.
func TestRequestSubjects(t *testing.T) {
	p := &requestPort{requestWire: newRequestWire(&RequestLane{prefix: "sixfold"})}
	for range 2 {
		for n := range 100 {
			to := fmt.Sprint("at.", n)
			for range 2 {
				if got := p.requests(to); got != "sixfold.request."+to {
					t.Errorf("requests to %s go to %s", to, got)
				}
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { p.requests("at.1") }); n != 0 {
		t.Errorf("a subject that is remembered costs %v allocations", n)
	}
}
