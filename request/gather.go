package request

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold"
)

// Answered is the outcome of one destination that Gather asked, or of one responder that Scatter reached.
type Answered[R any] struct {
	// To is the destination.
	To string
	// From is who has answered, where Scatter asked: the owner of the key that signed the answer if the client has a Verifier, else
	// what the answer says of its source, which anybody can say.
	From string
	// Result is what it answered, if Err is nil; Err is as Send has it.
	Result R
	Err    error
	// Took is how long it took.
	Took time.Duration
}

// Gather asks several destinations the same at once and answers each one's outcome as it comes: all of them within the one deadline of ctx,
// or the client's default. Who leaves the loop has enough: the calls that are still open are cancelled, and their responders' contexts
// end where the lane can tell them. Of those that listen at one destination, one is asked.
//
// Each call is one of the client's, with an id and a slot of its own. Options are those of Send; To and ID have no meaning here. A
// destination that is named twice is asked once.
func Gather[C sixfold.Command[R], R any](ctx context.Context, client *Client, m C, to []string, opts ...Option) iter.Seq[Answered[R]] {
	return func(yield func(Answered[R]) bool) {
		asked := make([]string, 0, len(to))
		for _, destination := range to {
			if !slices.Contains(asked, destination) {
				asked = append(asked, destination)
			}
		}
		if len(asked) == 0 {
			yield(Answered[R]{Err: invalid("gather %T: there is no destination; name at least one", m)})
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		answers := make(chan Answered[R], len(asked))
		begun := time.Now()
		for _, destination := range asked {
			go func() {
				a := Answered[R]{To: destination}
				own := append(opts[:len(opts):len(opts)], To(destination), func(c *call) { c.id = "" })
				a.Result, a.Err = Send(ctx, client, m, own...)
				a.Took = time.Since(begun)
				answers <- a
			}()
		}
		open := len(asked)
		defer func() { // no goroutine stays: a call that is cancelled ends at once
			cancel()
			for range open {
				<-answers
			}
		}()
		for open > 0 {
			a := <-answers
			open--
			if !yield(a) {
				return
			}
		}
	}
}
