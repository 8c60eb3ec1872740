package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// An arm is one side of a comparison. It does its work once and answers what it measured.
type arm func(ctx context.Context) (float64, error)

// interleaved runs the arms in turn (A B A B …), so that what the machine does meanwhile meets all of them, and answers
// the results of each arm by round. One round before the first warms up what the arms share and is not counted.
func (s *scope) interleaved(ctx context.Context, arms ...arm) ([][]float64, error) {
	results := make([][]float64, len(arms))
	warm := pick(s.bench, 1, 0)
	for round := range warm + s.rounds {
		for i, a := range arms {
			v, err := a(ctx)
			if err != nil {
				return nil, err
			}
			if round >= warm {
				results[i] = append(results[i], v)
			}
		}
		if round >= warm {
			latest := make([]float64, len(arms))
			for i := range arms {
				latest[i] = rounded(results[i][round-warm])
			}
			s.say("round %d of %d: %v", round-warm+1, s.rounds, latest)
		}
	}
	return results, nil
}

// compare runs peer and sixfold in turn and reports the line called name.
func (s *scope) compare(ctx context.Context, l line, g goal, peer, sixfold arm) error {
	results, err := s.interleaved(ctx, peer, sixfold)
	if err != nil {
		return err
	}
	return s.against(l, g, results[0], results[1])
}

// against reports one line from the rounds of both sides. The ratio is the median of the rounds' own ratios: the two
// sides of a round are neighbours in time, so that what slows the machine down slows both.
func (s *scope) against(l line, g goal, peer, sixfold []float64) error {
	ratios := make([]float64, len(peer))
	for i := range peer {
		if peer[i] == 0 {
			return fmt.Errorf("compare %s: the peer measured 0; make the case larger", l.Case)
		}
		ratios[i] = sixfold[i] / peer[i]
	}
	p, r := median(peer), median(ratios)
	l.Value, l.Peer, l.Ratio = median(sixfold), &p, &r
	return s.report.add(l, g)
}

// alone reports a line that has no peer: the median of its rounds.
func (s *scope) alone(l line, g goal, sixfold []float64) error {
	l.Value = median(sixfold)
	return s.report.add(l, g)
}

// median of vs, which are not changed; 0 of none.
func median(vs []float64) float64 { return quantile(vs, 0.5) }

// quantile q of vs, between the nearest two.
func quantile(vs []float64, q float64) float64 {
	if len(vs) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(vs))
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 == len(sorted) {
		return sorted[i]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// perSecond runs do in workers goroutines for about d, each one call after the other, and answers the calls a second of
// all together. do is given a number that no other call of this run has.
func perSecond(ctx context.Context, workers int, d time.Duration, do func(ctx context.Context, n int) error) (float64, error) {
	var count, next atomic.Int64
	errs := make([]error, workers)
	start := time.Now()
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for first := true; errs[w] == nil && (first || time.Since(start) < d); first = false {
				if errs[w] = do(ctx, int(next.Add(1))); errs[w] == nil {
					count.Add(1)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	return float64(count.Load()) / took.Seconds(), errors.Join(errs...)
}

// rate of n things in the time since start.
func rate(n int, start time.Time) float64 { return float64(n) / time.Since(start).Seconds() }
