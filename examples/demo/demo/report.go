package demo

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"
)

// Report is what the tables say at the end.
type Report struct {
	Placed           int     `json:"placed"`
	RolledBack       int     `json:"rolled_back"`
	Handled          int     `json:"handled"` // effects in all three services; three for each order
	RelayKills       int     `json:"relay_kills"`
	InFlightAtKills  int64   `json:"in_flight_at_kills"`
	Lost             int     `json:"lost"`
	DuplicateEffects int     `json:"duplicate_effects"`
	OrderViolations  int     `json:"order_violations"`
	Phantoms         int     `json:"phantoms"`
	P50              float64 `json:"p50_ms"` // from placing an order to its last effect
	P99              float64 `json:"p99_ms"`
	Seconds          float64 `json:"seconds"`
}

// OK reports whether nothing was lost, repeated, out of order or made up.
func (r Report) OK() bool {
	return r.Lost == 0 && r.DuplicateEffects == 0 && r.OrderViolations == 0 && r.Phantoms == 0
}

// effect is a row of a service's table of effects, in the order of their commits.
type effect struct {
	order, customer string
	number          int
	micros          int64
}

// compare counts, for one service, what differs between the orders that were committed and its effects.
func (r *Report) compare(orders map[string]bool, got []effect) {
	seen := make(map[string]int, len(orders))
	last := make(map[string]int, customers)
	for _, e := range got {
		if !orders[e.order] {
			r.Phantoms++
		}
		seen[e.order]++
		if seen[e.order] > 1 {
			r.DuplicateEffects++
			continue
		}
		if e.number <= last[e.customer] {
			r.OrderViolations++
		}
		last[e.customer] = max(last[e.customer], e.number)
	}
	for o := range orders {
		if seen[o] == 0 {
			r.Lost++
		}
	}
	r.Handled += len(got)
}

// read fills the report from the tables of the services.
func (r *Report) read(ctx context.Context, all map[string]*Service) error {
	orders, err := all["orders"].orders(ctx)
	if err != nil {
		return err
	}
	r.Placed = len(orders)
	for _, name := range names() {
		got, err := all[name].effects(ctx)
		if err != nil {
			return err
		}
		r.compare(orders, got)
		if name == "orders" {
			r.latency(got)
		}
	}
	return nil
}

func (r *Report) latency(got []effect) {
	if len(got) == 0 {
		return
	}
	micros := make([]int64, len(got))
	for i, e := range got {
		micros[i] = e.micros
	}
	slices.Sort(micros)
	at := func(p int) float64 { return float64(micros[min(len(micros)-1, len(micros)*p/100)]) / 1000 }
	r.P50, r.P99 = at(50), at(99)
}

func (s *Service) orders(ctx context.Context) (map[string]bool, error) {
	rows, err := s.sql.QueryContext(ctx, `SELECT id FROM orders`)
	if err != nil {
		return nil, fmt.Errorf("demo: read the orders: %w", err)
	}
	defer rows.Close()
	ids := make(map[string]bool)
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids[id] = true
	}
	return ids, rows.Err()
}

func (s *Service) effects(ctx context.Context) (all []effect, err error) {
	rows, err := s.sql.QueryContext(ctx, `SELECT "order", customer, number, micros FROM effects ORDER BY n`)
	if err != nil {
		return nil, fmt.Errorf("demo: read the effects of %s: %w", s.name, err)
	}
	defer rows.Close()
	for rows.Next() {
		var e effect
		if err := rows.Scan(&e.order, &e.customer, &e.number, &e.micros); err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, rows.Err()
}

// count of the effects so far.
func (s *Service) count(ctx context.Context) (n int, err error) {
	err = s.sql.QueryRowContext(ctx, `SELECT count(*) FROM effects`).Scan(&n)
	return n, err
}

// print writes the report for people.
func (r Report) print(w io.Writer) {
	verdict := "Nothing was lost, nothing took effect twice, every customer's orders kept their order."
	if !r.OK() {
		verdict = "SOMETHING IS WRONG: see the numbers above. Please report this run."
	}
	fmt.Fprintf(w, `
  placed and committed   %6d orders
  rolled back            %6d orders: nobody heard of them
  handled                %6d effects, three for each order
  relay killed           %6d times, with %d messages in flight

  lost                   %6d
  duplicate effects      %6d
  order violations       %6d
  phantoms               %6d

  from order to its last effect: p50 %.1f ms, p99 %.1f ms (the slow ones waited for a killed relay's successor)

%s  (%v)
`, r.Placed, r.RolledBack, r.Handled, r.RelayKills, r.InFlightAtKills, r.Lost, r.DuplicateEffects, r.OrderViolations, r.Phantoms,
		r.P50, r.P99, verdict, (time.Duration(r.Seconds*1000) * time.Millisecond).Round(100*time.Millisecond))
}
