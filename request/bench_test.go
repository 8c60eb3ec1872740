package request_test

import (
	"context"
	"encoding/json"
	"iter"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
)

// BenchmarkSend is a call inside the process, with everything but a network.
func BenchmarkSend(b *testing.B) {
	lane := newLane(b)
	serve(b, lane, request.ServeOptions{}, request.On(func(_ context.Context, q Length) (int, error) { return len(q.Text), nil }))
	c := newClient(b, lane, nil)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if n, err := request.Send(b.Context(), c, Length{Text: "four"}); n != 4 || err != nil {
				b.Fatal(n, err)
			}
		}
	})
}

// BenchmarkStream is one item of one stream inside the process.
func BenchmarkStream(b *testing.B) {
	lane := newLane(b)
	serve(b, lane, request.ServeOptions{}, request.OnStream(func(_ context.Context, q Numbers) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for n := 0; n < q.Most && yield(n, nil); n++ {
			}
		}
	}))
	c := newClient(b, lane, nil)
	b.ReportAllocs()
	n := 0
	for _, err := range request.Stream(b.Context(), c, Numbers{Most: b.N}, request.Timeout(time.Hour)) {
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	if n != b.N {
		b.Fatalf("%d of %d items came", n, b.N)
	}
}

// BenchmarkFloor is what no call inside the process can do without: JSON encoded and decoded on either side, and a goroutine that answers.
func BenchmarkFloor(b *testing.B) {
	type asked struct {
		body []byte
		back chan []byte
	}
	asks := make(chan asked, 64)
	for range 4 {
		go func() {
			for a := range asks {
				var q Length
				if json.Unmarshal(a.body, &q) != nil {
					q.Text = ""
				}
				body, _ := json.Marshal(len(q.Text)) // a number
				a.back <- body
			}
		}()
	}
	defer close(asks)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		back := make(chan []byte, 1)
		for pb.Next() {
			body, err := json.Marshal(Length{Text: "four"})
			if err != nil {
				b.Fatal(err)
			}
			asks <- asked{body, back}
			var n int
			if err := json.Unmarshal(<-back, &n); n != 4 || err != nil {
				b.Fatal(n, err)
			}
		}
	})
}

// BenchmarkFrame is a request written as a frame, and read.
func BenchmarkFrame(b *testing.B) {
	env, err := sixfold.NewEnvelope(b.Context(), "shop", sixfold.JSON, Length{Text: "four"})
	if err != nil {
		b.Fatal(err)
	}
	env.Expires = env.Time.Add(time.Minute)
	p := &request.Packet{Envelope: *env, Protocol: "request/1", Request: env.ID, Timeout: "9999"}
	data, err := p.AppendFrame(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			if dst, err = p.AppendFrame(dst[:0]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if p := request.ReadFrame(data); p.Damaged != nil {
				b.Fatal(p.Damaged)
			}
		}
	})
}
