package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
)

// A line is one result. Value is Sixfold's and Peer the peer's, both in Unit; Ratio is that of the two, the median over
// the rounds. Target and Moonshot judge what Rule names.
type line struct {
	Case     string   `json:"case"`
	Value    float64  `json:"value"`
	Unit     string   `json:"unit"`
	Peer     *float64 `json:"peer,omitempty"`
	Ratio    *float64 `json:"ratio,omitempty"`
	Rule     string   `json:"rule,omitempty"`
	Target   *float64 `json:"target,omitempty"`
	Moonshot *float64 `json:"moonshot,omitempty"`
	OK       *bool    `json:"ok,omitempty"`
	PeerName string   `json:"peer_name,omitempty"`
	Note     string   `json:"note,omitempty"`
	Skipped  string   `json:"skipped,omitempty"`
}

// A goal is what a line is judged by. The zero value judges nothing.
type goal struct {
	rule             string
	target, moonshot float64
}

const (
	ratioAtLeast = "ratio at least"
	ratioAtMost  = "ratio at most"
	valueAtMost  = "value at most"
	valueAtLeast = "value at least"
)

// report prints lines as they come and remembers them for the table.
type report struct {
	out    io.Writer
	lines  []line
	missed int // targets
}

func newReport(out io.Writer) *report { return &report{out: out} }

// add judges l by g and prints it.
func (r *report) add(l line, g goal) error {
	if g.rule != "" {
		l.Rule, l.Target, l.Moonshot = g.rule, &g.target, &g.moonshot
		ok := false
		switch {
		case g.rule == valueAtMost:
			ok = l.Value <= g.target
		case g.rule == valueAtLeast:
			ok = l.Value >= g.target
		case l.Ratio == nil:
		case g.rule == ratioAtLeast:
			ok = *l.Ratio >= g.target
		case g.rule == ratioAtMost:
			ok = *l.Ratio <= g.target
		}
		l.OK = &ok
		if !ok {
			r.missed++
		}
	}
	l.Value = rounded(l.Value)
	for _, p := range []**float64{&l.Peer, &l.Ratio} {
		if *p != nil {
			v := rounded(**p)
			*p = &v
		}
	}
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("print the result of %s: %w", l.Case, err)
	}
	r.lines = append(r.lines, l)
	_, err = fmt.Fprintf(r.out, "%s\n", text)
	return err
}

// skip says why a case could not run.
func (r *report) skip(name, why string) error {
	r.lines = append(r.lines, line{Case: name, Skipped: why})
	text, err := json.Marshal(struct {
		Case    string `json:"case"`
		Skipped string `json:"skipped"`
	}{name, why})
	if err != nil {
		return fmt.Errorf("print the result of %s: %w", name, err)
	}
	_, err = fmt.Fprintf(r.out, "%s\n", text)
	return err
}

// rounded keeps four digits: the fifth is noise on every machine.
func rounded(v float64) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		return v
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

// table prints everything once more, for people.
func (r *report) table() {
	if len(r.lines) == 0 {
		return
	}
	fmt.Fprintln(r.out)
	w := tabwriter.NewWriter(r.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "case\tsixfold\tpeer\tunit\tratio\tat least/most\tmoonshot\t")
	for _, l := range r.lines {
		if l.Skipped != "" {
			fmt.Fprintf(w, "%s\tskipped\t\t\t\t\t\t%s\n", l.Case, l.Skipped)
			continue
		}
		verdict := ""
		switch {
		case l.OK == nil:
		case !*l.OK:
			verdict = "MISSED"
		case reached(l):
			verdict = "moonshot"
		default:
			verdict = "ok"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Case, short(&l.Value), short(l.Peer), l.Unit, short(l.Ratio), short(l.Target), short(l.Moonshot), verdict)
	}
	w.Flush()
}

// reached reports whether a line that is ok is as good as its moonshot.
func reached(l line) bool {
	switch l.Rule {
	case valueAtMost:
		return l.Value <= *l.Moonshot
	case valueAtLeast:
		return l.Value >= *l.Moonshot
	case ratioAtLeast:
		return *l.Ratio >= *l.Moonshot
	default:
		return *l.Ratio <= *l.Moonshot
	}
}

func short(v *float64) string {
	switch {
	case v == nil:
		return ""
	case math.Abs(*v) >= 100:
		return strconv.FormatFloat(*v, 'f', 0, 64)
	default:
		return strconv.FormatFloat(*v, 'g', 3, 64)
	}
}
