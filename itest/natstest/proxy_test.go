package natstest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/itest/wire"
)

// A proxy stands between one process's connections and the server.
type proxy struct{ *wire.Proxy }

// newProxy starts one. It ends with the test.
func newProxy(tb testing.TB, url string) *proxy {
	tb.Helper()
	return &proxy{wire.NewProxy(tb, strings.TrimPrefix(url, "nats://"), wire.Protocol{
		Role: func(said []byte) string {
			_, name, _ := bytes.Cut(said, []byte(`"name":"sixfold `))
			role, _, _ := bytes.Cut(name, []byte(`"`))
			return string(role)
		},
		Greeted: func(said []byte) bool { return bytes.Contains(said, []byte("PONG\r\n")) }, // which answers the first ping
	})}
}

func (p *proxy) url() string { return "nats://" + p.Addr() }
