package flowtest

import (
	"fmt"
	"math/rand/v2"
	"time"

	fp "github.com/sixfold-go/sixfold/internal/flowplan"
)

// randomStep is one before the pivot, or after it. Both its directions have one time limit, as in package saga/flow.
func randomStep(rng *rand.Rand, after bool) *fp.Step {
	var within time.Duration
	if rng.IntN(3) > 0 {
		within = time.Minute
	}
	command := func() fp.Command {
		c := fp.Command{Answered: rng.IntN(5) > 0, Attempts: 1 + rng.IntN(3)}
		if c.Answered {
			c.Within = within
		}
		if rng.IntN(2) == 0 {
			c.Delay = func(int) time.Duration { return time.Second }
		}
		return c
	}
	s := &fp.Step{Do: command()}
	switch {
	case after:
	case rng.IntN(6) == 0:
		s.NoUndo = "nothing to undo"
	default:
		c := command()
		s.Undo = &c
	}
	return s
}

// randomFlow has n steps. One half has a pivot, right behind a step of the main sequence.
func randomFlow(rng *rand.Rand, n int) *fp.Part {
	count := 0
	name := func(what string) string { count++; return fmt.Sprint(what, count) }
	task := func(after bool) *fp.Part {
		return &fp.Part{Kind: fp.Task, Name: name("step"), Step: randomStep(rng, after)}
	}
	var group func(n int, after bool, depth int) []*fp.Part
	group = func(n int, after bool, depth int) (parts []*fp.Part) {
		for n > 0 {
			k := 1 + rng.IntN(n)
			if depth > 2 || k == 1 {
				parts, n = append(parts, task(after)), n-1
				continue
			}
			p := &fp.Part{Kind: []fp.Kind{fp.Sequence, fp.Parallel, fp.Condition}[rng.IntN(3)], Name: name("part")}
			if p.Kind == fp.Parallel {
				first := 1 + rng.IntN(k-1)
				p.Parts = []*fp.Part{{Kind: fp.Sequence, Name: name("branch"), Parts: group(first, after, depth+1)},
					{Kind: fp.Sequence, Name: name("branch"), Parts: group(k-first, after, depth+1)}}
			} else {
				p.Parts = group(k, after, depth+1)
			}
			parts, n = append(parts, p), n-k
		}
		return parts
	}
	root := &fp.Part{Kind: fp.Sequence}
	if rng.IntN(2) == 0 {
		root.Parts = group(n, false, 0)
		return root
	}
	pivot := 1 + rng.IntN(n) // behind which step
	root.Parts = append(group(pivot-1, false, 0), task(false), &fp.Part{Kind: fp.Pivot})
	root.Parts = append(root.Parts, group(n-pivot, true, 0)...)
	return root
}
