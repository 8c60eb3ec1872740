package durable

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/signature"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// take takes something from the shelf, and answers how many were taken so far.
type take struct {
	sixfold.Returns[int] `json:"-"`
	Item                 string
}

func (take) MessageName() string { return "warehouse.take" }

// counter is two responders with one database, as two processes would have them, and clients.
type counter struct {
	*world
	lane request.Lane
	ran  atomic.Int64
	fail func(n int64) error // what a run does instead, if it answers one
}

func newCounter(t *testing.T, database string) *counter {
	t.Helper()
	w := newWorld(t, database, "memory")
	lane, err := memory.NewRequestLane(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{world: w, lane: lane}
	for range 2 {
		answers, err := request.NewAnswers(w.db, w.st.Answers(), &request.AnswersOptions{Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		r, err := request.Serve(lane, &request.ServeOptions{Logger: quiet(), MaxConcurrent: 64}, request.Once(answers, c.take))
		if err != nil {
			t.Fatal(err)
		}
		w.run(r)
		<-r.Listening()
	}
	return c
}

func (c *counter) take(ctx context.Context, tx *sql.Tx, m take) (n int, err error) {
	if _, err := tx.ExecContext(ctx, "INSERT INTO effect (item) VALUES ('"+m.Item+"')"); err != nil {
		return 0, err
	}
	ran := c.ran.Add(1)
	if c.fail != nil {
		if err := c.fail(ran); err != nil {
			return 0, err
		}
	}
	return n, tx.QueryRowContext(ctx, "SELECT count(*) FROM effect").Scan(&n)
}

func (c *counter) client() *request.Client {
	c.Helper()
	client, err := request.NewClient(c.lane, &request.ClientOptions{Source: "shop", Timeout: patience, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

func databases(t *testing.T, test func(t *testing.T, c *counter)) {
	t.Helper()
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) { test(t, newCounter(t, database)) })
	}
}

// A hundred calls of one id at once have one effect and one answer; so have those that come later. guarantees: I1, Q2
func TestOneIDRunsOnce(t *testing.T) {
	databases(t, func(t *testing.T, c *counter) {
		clients := []*request.Client{c.client(), c.client(), c.client(), c.client()}
		id := sixfold.NewID()
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				if n, err := request.Send(t.Context(), clients[i%4], take{Item: "lamp"}, request.ID(id)); err != nil || n != 1 {
					t.Errorf("answered %d, %v", n, err)
				}
			})
		}
		wg.Wait()
		if n, err := request.Send(t.Context(), clients[0], take{Item: "lamp"}, request.ID(sixfold.NewID())); err != nil || n != 2 {
			t.Errorf("another id: answered %d, %v", n, err)
		}
		if n, err := request.Send(t.Context(), clients[1], take{Item: "lamp"}, request.ID(id)); err != nil || n != 1 {
			t.Errorf("later: answered %d, %v", n, err)
		}
		if n := c.count("SELECT count(*) FROM effect"); n != 2 {
			t.Errorf("%d effects of two ids", n)
		}
	})
}

// An id with another body gets no answer, and runs nothing. guarantees: I6
func TestOneIDWithAnotherBody(t *testing.T) {
	databases(t, func(t *testing.T, c *counter) {
		client, id := c.client(), sixfold.NewID()
		if _, err := request.Send(t.Context(), client, take{Item: "lamp"}, request.ID(id)); err != nil {
			t.Fatal(err)
		}
		if _, err := request.Send(t.Context(), client, take{Item: "sofa"}, request.ID(id)); !errors.Is(err, &request.Fault{Category: request.Malformed}) {
			t.Errorf("answered %v", err)
		}
		if n := c.count("SELECT count(*) FROM effect"); n != 1 {
			t.Errorf("%d effects", n)
		}
	})
}

// give puts something back, in the words of take.
type give take

func (give) MessageName() string { return "warehouse.give" }

// An id is one of its message and of who asks: of the same source, whose key signed the request; else of the source. So nobody is
// answered what somebody else was. guarantees: I1, I6, Q6
func TestOneIDOfSeveral(t *testing.T) {
	private := func(owner string) ed25519.PrivateKey {
		seed := sha256.Sum256([]byte(owner))
		return ed25519.NewKeyFromSeed(seed[:])
	}
	databases(t, func(t *testing.T, c *counter) {
		var keys []signature.VerifyKey
		for _, owner := range []string{"shop", "thief"} {
			keys = append(keys, signature.VerifyKey{ID: owner, Owner: owner, Public: private(owner).Public().(ed25519.PublicKey)})
		}
		known, err := signature.NewVerifier(nil, keys, nil)
		if err != nil {
			t.Fatal(err)
		}
		answers, err := request.NewAnswers(c.db, c.st.Answers(), nil)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := memory.NewRequestLane(nil)
		if err != nil {
			t.Fatal(err)
		}
		back := request.Once(answers, func(ctx context.Context, tx *sql.Tx, m give) (int, error) { return c.take(ctx, tx, take(m)) })
		for lane, o := range map[request.Lane]*request.ServeOptions{c.lane: {Logger: quiet()}, signed: {Logger: quiet(), Verifier: known}} {
			routes := []request.Route{back}
			if lane == signed {
				routes = append(routes, request.Once(answers, c.take))
			}
			r, err := request.Serve(lane, o, routes...)
			if err != nil {
				t.Fatal(err)
			}
			c.run(r)
			<-r.Listening()
		}
		client := func(lane request.Lane, source, owner string) *request.Client {
			o := &request.ClientOptions{Source: source, Timeout: patience, Logger: quiet()}
			if owner != "" {
				if o.Signer, err = signature.NewSigner(signature.SigningKey{ID: owner, Private: private(owner)}, source, nil); err != nil {
					t.Fatal(err)
				}
			}
			cl, err := request.NewClient(lane, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cl.Close(context.Background()) })
			return cl
		}
		id := sixfold.NewID()
		for i, who := range []*request.Client{client(c.lane, "shop", ""), client(c.lane, "stall", ""), client(signed, "shop", "shop"), client(signed, "shop", "thief")} {
			first := 2*i + 1
			for range 2 {
				if n, err := request.Send(t.Context(), who, take{Item: "lamp"}, request.ID(id)); err != nil || n != first {
					t.Errorf("who is number %d takes, and is answered %d, %v; want %d", i, n, err, first)
				}
				if n, err := request.Send(t.Context(), who, give{Item: "lamp"}, request.ID(id)); err != nil || n != first+1 {
					t.Errorf("who is number %d gives, and is answered %d, %v; want %d", i, n, err, first+1)
				}
			}
		}
	})
}

// What failed is not kept: its effect is taken back, and the same id runs again. guarantees: I1
func TestFailureIsNotKept(t *testing.T) {
	databases(t, func(t *testing.T, c *counter) {
		c.fail = func(n int64) error {
			if n == 1 {
				return errNo
			}
			return nil
		}
		client, id := c.client(), sixfold.NewID()
		if _, err := request.Send(t.Context(), client, take{Item: "lamp"}, request.ID(id)); !errors.Is(err, &request.Fault{Category: request.Internal}) {
			t.Errorf("answered %v", err)
		}
		if n, err := request.Send(t.Context(), client, take{Item: "lamp"}, request.ID(id)); err != nil || n != 1 {
			t.Errorf("answered %d, %v", n, err)
		}
	})
}

// What the database itself undoes, for it to be tried again, the caller does not hear of. guarantees: I1, Q2
func TestPassingFailureRunsAgain(t *testing.T) {
	c := newCounter(t, "postgres")
	answers, err := request.NewAnswers(c.db, c.st.Answers(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := request.Serve(c.lane, nil, request.Once(answers, func(ctx context.Context, tx *sql.Tx, m give) (int, error) {
		n, err := c.take(ctx, tx, take(m))
		if err == nil && c.ran.Load() < 3 {
			_, err = tx.ExecContext(ctx, "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$") // serialization_failure
		}
		return n, err
	}))
	if err != nil {
		t.Fatal(err)
	}
	c.run(r)
	<-r.Listening()
	if n, err := request.Send(t.Context(), c.client(), give{Item: "lamp"}); err != nil || n != 1 {
		t.Errorf("answered %d, %v", n, err)
	}
	if n := c.ran.Load(); n != 3 {
		t.Errorf("it ran %d times; twice the database undid it", n)
	}
}

// A call that asks again gets the answer of what its first try began, which ran once. guarantees: Q1, I1
func TestRetry(t *testing.T) {
	databases(t, func(t *testing.T, c *counter) {
		hold := make(chan struct{})
		c.fail = func(int64) error { <-hold; return nil }
		client := c.client()
		out := make(chan error, 1)
		go func() {
			n, err := request.Send(t.Context(), client, take{Item: "lamp"}, request.Retry(100*time.Millisecond))
			if err == nil && n != 1 {
				err = errors.New("it ran twice")
			}
			out <- err
		}()
		c.until("it was asked again", func() bool { return client.Stats().Calls > 2 })
		close(hold)
		if err := <-out; err != nil {
			t.Error(err)
		}
		if n := c.ran.Load(); n != 1 {
			t.Errorf("it ran %d times", n)
		}
	})
}

// Old answers are removed.
func TestAnswersArePruned(t *testing.T) {
	databases(t, func(t *testing.T, c *counter) {
		if _, err := request.Send(t.Context(), c.client(), take{Item: "lamp"}); err != nil {
			t.Fatal(err)
		}
		a := c.st.Answers()
		if n, err := a.Prune(t.Context(), time.Hour, 10); err != nil || n != 0 {
			t.Errorf("%d were removed, %v", n, err)
		}
		c.until("it is removed", func() bool {
			n, err := a.Prune(t.Context(), time.Microsecond, 10)
			return err == nil && n == 1
		})
	})
}
