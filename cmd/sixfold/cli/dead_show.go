package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/outbox"
)

const stamp = "2006-01-02T15:04:05.000Z07:00"

// shownDetail is a parked message with all about it, for JSON.
type shownDetail struct {
	shownLetter
	Attributes map[string]string `json:"attributes,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	Tries      []shownTry        `json:"tries"`
	Audit      []shownChange     `json:"audit"`
	payload
}

type shownTry struct {
	Attempt int       `json:"attempt"`
	At      time.Time `json:"at"`
	Node    string    `json:"node"`
	Error   string    `json:"error"`
}

type shownChange struct {
	At     time.Time `json:"at"`
	Who    string    `json:"who"`
	Action string    `json:"action"`
	Run    string    `json:"run,omitempty"`
	N      int64     `json:"n"`
	Reason string    `json:"reason,omitempty"`
	Before any       `json:"before,omitempty"`
	After  any       `json:"after,omitempty"`
}

func (a *app) letterShow() *cobra.Command {
	body := false
	c := &cobra.Command{Use: "show N|ID", Short: "show one parked message, dead or waiting: its attempts, its line, what people did to it", Args: oneArgument("the number or the id of a message")}
	c.Flags().BoolVar(&body, "body", false, "show the body too, and both versions of what was edited")
	c.RunE = func(c *cobra.Command, args []string) error {
		letters, db, err := a.openLetters(c.Context())
		if err != nil {
			return err
		}
		defer db.close()
		ns, err := numbers(c.Context(), letters, args, deadletter.All)
		if err != nil {
			return err
		}
		for _, n := range ns {
			d, err := letters.Show(c.Context(), n)
			if err != nil {
				return letterError(err)
			}
			if err := a.showLetter(d, body); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}

func (a *app) showLetter(d *deadletter.Detail, body bool) error {
	s := shownDetail{shownLetter: shownOf(&d.Letter), Tries: []shownTry{}, Audit: []shownChange{}}
	var env sixfold.Envelope
	if _, err := outbox.DecodeAttrs(d.Attrs, &env); err != nil && s.Unreadable == "" {
		s.Unreadable = err.Error()
	}
	env.Source = "" // shown already
	s.Attributes, s.Headers = attributes(&env), env.Headers
	for _, t := range d.Tries {
		s.Tries = append(s.Tries, shownTry(t))
	}
	for i := range d.Changes {
		ch := &d.Changes[i]
		sc := shownChange{At: ch.At, Who: ch.Who, Action: ch.Action, Run: ch.Run, N: ch.N, Reason: ch.Reason}
		if body && ch.Before != nil {
			sc.Before = ch.Before
		}
		if body && ch.After != nil {
			sc.After = ch.After
		}
		s.Audit = append(s.Audit, sc)
	}
	if body {
		s.payload = payloadOf(d.Body)
	}
	if a.format == "json" {
		return a.json(s)
	}
	lines := [][]string{{"n", strconv.FormatInt(s.N, 10)}, {"state", s.State}, {"from", s.From}, {"consumer", s.Consumer}, {"id", s.ID}, {"source", s.Source}, {"type", s.Type}, {"topic", s.Topic}, {"key", s.Key},
		{"reason", s.Reason}, {"error", s.Error}, {"attempts", strconv.Itoa(s.Attempts)}, {"sent again", strconv.Itoa(s.Redriven)}, {"node", s.Node},
		{"first seen", s.FirstAt.Format(stamp)}, {"last attempt", s.LastAt.Format(stamp) + " (" + short(d.Age) + " ago)"}}
	if s.Unreadable != "" {
		lines = append(lines, []string{"unreadable", s.Unreadable})
	}
	if d.Line.ID != 0 {
		lines = append(lines, []string{"line", fmt.Sprintf("%d of %d messages; %s", d.Line.ID, d.Line.Size, place(&d.Letter))})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Attributes)) {
		lines = append(lines, []string{name, s.Attributes[name]})
	}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		lines = append(lines, []string{"header " + name, s.Headers[name]})
	}
	for _, t := range s.Tries {
		lines = append(lines, []string{fmt.Sprint("attempt ", t.Attempt), t.At.Format(stamp) + " on " + t.Node + ": " + t.Error})
	}
	for i, ch := range s.Audit {
		lines = append(lines, []string{"audit", ch.At.Format(stamp) + " " + ch.Action + " by " + ch.Who + ifSet(" (", ch.Reason, ")") + ifSet(" in run ", ch.Run, "")})
		if body {
			lines = append(lines, []string{"  before", string(d.Changes[i].Before)}, []string{"  after", string(d.Changes[i].After)})
		}
	}
	text := "none"
	if s.BodyBytes >= 0 {
		text = fmt.Sprintf("%d bytes; --body shows them", s.BodyBytes)
	}
	if body {
		text = bodyText(d.Body)
	}
	return a.pairs(append(lines, []string{"body", text}))
}

func ifSet(before, s, after string) string {
	if s == "" {
		return ""
	}
	return before + s + after
}
