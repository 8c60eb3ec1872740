package rabbittest

import (
	"bytes"
	"encoding/binary"
	"net/url"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/itest/wire"
)

// A proxy stands between one process's connections and the server.
type proxy struct {
	*wire.Proxy
	login *url.URL
}

// newProxy starts one. It ends with the test.
func newProxy(tb testing.TB, address string) *proxy {
	tb.Helper()
	u, err := url.Parse(address)
	if err != nil {
		tb.Fatal(err)
	}
	return &proxy{wire.NewProxy(tb, u.Host, wire.Protocol{
		Role: func(said []byte) string {
			_, name, found := bytes.Cut(said, []byte("connection_nameS"))
			if !found || len(name) < 4 {
				return ""
			}
			size := min(int(binary.BigEndian.Uint32(name)), len(name)-4)
			return strings.TrimPrefix(string(name[4:4+size]), "sixfold ")
		},
		Greeted: func(said []byte) bool { return bytes.Contains(said, []byte{0, 85, 0, 11}) }, // confirm.select-ok: the channel confirms
	}), u}
}

// url is the address with the login of the backend's.
func (p *proxy) url() string {
	u := *p.login
	u.Host = p.Addr()
	return u.String()
}
