package rabbitmq

import (
	"encoding/base64"
	"testing"
)

// guarantees: Q4
func TestReplyForm(t *testing.T) {
	const made = directReplyTo + ".g1h2AA9yZXBseUAxMjA2MzAwNTIAAALHAAAAAGsCuqQ=.K4MQd/YCV0gBJ2XsCkKJHQ=="
	f := learn(made)
	if f.head == nil || !f.wide || f.address(made) != made {
		t.Fatalf("%+v does not take the address that it was learnt from", f)
	}
	term := func(s string) string {
		return directReplyTo + "." + base64.StdEncoding.EncodeToString([]byte(s)) + ".AAAA"
	}
	tail := "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01"
	if a := term("\x83Xv\x00\x0areply@4711" + tail); f.address(a) != a {
		t.Error("the address of another node is refused")
	}
	for _, bad := range []string{"", directReplyTo, directReplyTo + ".", directReplyTo + ".garbage", made + ".more", made[:len(made)-26] + "!!", "orders", term(""), term("\x83Xv\x00"),
		term("\x83Xw\x0areply@4711" + tail), term("\x83Xv\x00\x01a" + tail), term("\x83Xv\x00\x0areply@47x1" + tail), term("\x83Xv\x00\x0areply@4711" + tail + "x"),
		term("\x83Xv\xff\xffreply@4711" + tail), term("\x83Xv\x00\x06reply@" + tail), made + "\n"} {
		if got := f.address(bad); got != "" {
			t.Errorf("%q is taken as %q", bad, got)
		}
	}
	if f := learn(directReplyTo + ".some-later-form"); f.head != nil || f.address(directReplyTo+".x") == "" || f.address("orders") != "" {
		t.Errorf("of an unknown form %+v was learnt", f)
	}
}
