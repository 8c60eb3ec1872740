package sqstest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// A proxy stands between one process's requests and the emulator, and plays what that cannot.
type proxy struct {
	server  *httptest.Server
	backend string
	pool    *http.Transport

	mu    sync.Mutex
	gone  chan struct{} // closed while the proxy is cut
	hold  chan struct{} // answers to sends wait until it is closed; nil: they do not
	fault func(action string, body []byte) *answer
	count map[string]int // requests, by action
}

// answer is what a fault says in the emulator's place.
type answer struct {
	status int
	header map[string]string
	body   string
}

// newProxy starts one. It ends with the test.
func newProxy(tb testing.TB, backend string) *proxy {
	tb.Helper()
	p := &proxy{backend: backend, pool: &http.Transport{DisableKeepAlives: true}, gone: make(chan struct{}), count: make(map[string]int)}
	p.server = httptest.NewServer(p)
	tb.Cleanup(func() {
		p.cut()
		p.server.Close()
		p.pool.CloseIdleConnections()
	})
	return p
}

func (p *proxy) url() string { return p.server.URL }

// actionOf reads the action of a request, as either service writes it.
func actionOf(r *http.Request, body []byte) string {
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		return strings.TrimPrefix(target, "AmazonSQS.")
	}
	form, _ := url.ParseQuery(string(body))
	return form.Get("Action")
}

func (p *proxy) state() (gone, hold chan struct{}, fault func(string, []byte) *answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.gone, p.hold, p.fault
}

// ServeHTTP implements http.Handler. Aborting closes the connection without an answer.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	gone, hold, fault := p.state()
	if err != nil || closed(gone) {
		panic(http.ErrAbortHandler)
	}
	action := actionOf(r, body)
	p.mu.Lock()
	p.count[action]++
	p.mu.Unlock()
	if fault != nil {
		if a := fault(action, body); a != nil {
			if a.status == 0 {
				panic(http.ErrAbortHandler)
			}
			for k, v := range a.header {
				w.Header().Set(k, v)
			}
			w.WriteHeader(a.status)
			_, _ = io.WriteString(w, a.body)
			return
		}
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-gone:
			cancel()
		case <-ctx.Done():
		}
	}()
	request, err := http.NewRequestWithContext(ctx, r.Method, p.backend+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	request.Header = r.Header.Clone()
	response, err := p.pool.RoundTrip(request)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if hold != nil && (action == "SendMessageBatch" || action == "PublishBatch") {
		select {
		case <-hold:
		case <-gone:
		case <-ctx.Done():
		}
	}
	if closed(gone) {
		panic(http.ErrAbortHandler)
	}
	for k, v := range response.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(text)
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// cut ends what is under way and refuses the rest.
func (p *proxy) cut() {
	p.mu.Lock()
	if !closed(p.gone) {
		close(p.gone)
	}
	p.mu.Unlock()
	p.server.CloseClientConnections()
}

func (p *proxy) restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = make(chan struct{})
}

// holdSends lets the emulator take messages without an answer, until release.
func (p *proxy) holdSends() (release func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	hold := make(chan struct{})
	p.hold = hold
	return sync.OnceFunc(func() {
		p.mu.Lock()
		p.hold = nil
		p.mu.Unlock()
		close(hold)
	})
}

func (p *proxy) setFault(fault func(action string, body []byte) *answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

func (p *proxy) requests(action string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[action]
}
