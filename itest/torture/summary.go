package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// Summary is what a run proved.
type Summary struct {
	Seed             uint64         `json:"seed"`
	Broker           string         `json:"broker"`
	Database         string         `json:"database"`
	Plant            string         `json:"planted,omitempty"`
	Seconds          float64        `json:"seconds"`
	Messages         int            `json:"messages"`     // committed
	Transactions     map[Said]int   `json:"transactions"` // by what the publishers were told
	Resolved         Resolved       `json:"unknown_resolved"`
	Held             int            `json:"held_open"`
	Effects          map[string]int `json:"effects"` // by consumer
	Relayed          int            `json:"relayed"`
	Resent           int            `json:"resent"`
	TakeOvers        int            `json:"take_overs"`
	Fenced           int            `json:"fenced"`
	LateCommits      int            `json:"late_commits"`
	UnknownCommits   int            `json:"unknown_commits"`
	DuplicateAnswers int            `json:"duplicate_answers"`
	KillsInTx        int            `json:"kills_in_tx"`
	KillsAfterTx     int            `json:"kills_after_tx"`
	PoisonKills      int            `json:"poison_kills"`
	MostAttempts     int            `json:"most_attempts"` // of one suspect
	DeadLetters      int            `json:"dead_letters"`
	Parked           int            `json:"parked"`
	ParkedTakenOver  int            `json:"parked_taken_over"` // lines, from dead processes
	ParkedCrashes    int            `json:"parked_crashes"`
	Resumed          int            `json:"redrives_resumed"`
	Killed           int            `json:"killed"`
	PlannedStops     int            `json:"planned_stops"`
	HotInFlight      int            `json:"hot_in_flight"`
	Faults           map[Fault]int  `json:"faults"`
	Violations       Violations     `json:"violations"`
	Missing          []string       `json:"missing,omitempty"` // of Need
	Need             Need           `json:"-"`
	Dir              string         `json:"-"`
}

// Passed reports whether nothing was violated and enough went wrong.
func (s *Summary) Passed() bool { return s.Violations.Total() == 0 && len(s.Missing) == 0 }

// count is a number of the summary that a run needs.
type count struct {
	name      string
	got, need int
}

func (s *Summary) counts() []count {
	return []count{
		{"lease take-overs", s.TakeOvers, s.Need.TakeOvers},
		{"re-sent duplicates on the tap", s.Resent, s.Need.Resent},
		{"unknown commits", s.UnknownCommits, s.Need.UnknownCommits},
		{"late commits with a lower seq", s.LateCommits, s.Need.LateCommits},
		{"kills inside a handler's transaction", s.KillsInTx, s.Need.KillsInTx},
		{"kills between commit and acknowledgement", s.KillsAfterTx, s.Need.KillsAfterTx},
		{"planned stops", s.PlannedStops, s.Need.PlannedStops},
		{"dead letters", s.DeadLetters, s.Need.DeadLetters},
		{"parked messages", s.Parked, s.Need.Parked},
		{"parked lines taken over from the dead", s.ParkedTakenOver, s.Need.ParkedTakenOver},
		{"crashes at parked messages", s.ParkedCrashes, s.Need.ParkedCrashes},
		{"redrives resumed", s.Resumed, s.Need.Resumed},
		{"most of the hot key in flight", s.HotInFlight, s.Need.HotInFlight},
		{"ErrDuplicateMessage answers", s.DuplicateAnswers, s.Need.DuplicateAnswer},
	}
}

// missing says what did not go wrong often enough.
func (s *Summary) missing() (out []string) {
	for _, c := range s.counts() {
		if c.got < c.need {
			out = append(out, fmt.Sprintf("%s: %d, at least %d are needed", c.name, c.got, c.need))
		}
	}
	return out
}

// JSON writes the summary as one object on one line.
func (s *Summary) JSON(w io.Writer) error {
	if err := json.NewEncoder(w).Encode(s); err != nil {
		return fmt.Errorf("torture: write the summary: %w", err)
	}
	return nil
}

// Table writes the summary for people.
func (s *Summary) Table(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name string, v any) { fmt.Fprintf(w, "%s\t%v\t\n", name, v) }
	row("seed", s.Seed)
	row("broker", s.Broker)
	if s.Plant != "" {
		row("planted bug", s.Plant)
	}
	row("seconds", fmt.Sprintf("%.1f", s.Seconds))
	row("messages committed", s.Messages)
	for _, said := range slices.Sorted(maps.Keys(s.Transactions)) {
		row("transactions, "+string(said), s.Transactions[said])
	}
	row("of unknown outcome, committed", s.Resolved.Committed)
	row("of unknown outcome, rolled back", s.Resolved.RolledBack)
	row("held open after publishing", s.Held)
	row("relayed", s.Relayed)
	for _, name := range slices.Sorted(maps.Keys(s.Effects)) {
		row("effects, "+name, s.Effects[name])
	}
	for _, f := range slices.Sorted(maps.Keys(s.Faults)) {
		row("fault, "+string(f), s.Faults[f])
	}
	row("processes killed", s.Killed)
	row("killed by poison", s.PoisonKills)
	row("most attempts of a suspect", s.MostAttempts)
	row("found to be fenced", s.Fenced)
	for _, c := range s.counts() {
		row(c.name, fmt.Sprintf("%d (needed %d)", c.got, c.need))
	}
	for _, k := range kinds {
		row(string(k), s.Violations.Count[k])
	}
	_ = w.Flush()
	for _, k := range kinds {
		for _, e := range s.Violations.Examples[k] {
			fmt.Fprintf(out, "%s: %s\n", k, e)
		}
	}
	for _, m := range s.Missing {
		fmt.Fprintf(out, "not enough went wrong: %s\n", m)
	}
	switch {
	case s.Passed():
		fmt.Fprintln(out, "PASSED")
	default:
		fmt.Fprintf(out, "FAILED; journals and logs are in %s, and -seed %d repeats the choices\n", s.Dir, s.Seed)
	}
}
