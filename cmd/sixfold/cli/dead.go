package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/deadletter"
)

func (a *app) deadCommand() *cobra.Command {
	return a.group("dead", "look at dead letters, send them again, edit or discard them",
		a.letterList(deadletter.Dead), a.letterShow(), a.deadEdit(), a.deadRedrive(), a.deadDiscard())
}

// choice is which messages a command is about.
type choice struct {
	f    deadletter.Filter
	from string
	c    *cobra.Command
}

// choiceFlags are the flags that choose messages.
func choiceFlags(c *cobra.Command, state deadletter.State) *choice {
	ch := &choice{c: c, f: deadletter.Filter{State: state}}
	f := c.Flags()
	f.StringVar(&ch.f.Consumer, "consumer", "", "of this `consumer`; of a relay: the name of its transport")
	f.StringVar(&ch.f.Type, "type", "", "of this `type`")
	f.StringVar(&ch.f.Reason, "reason", "", "dead for this `reason`, like attempts or permanent")
	f.StringVar(&ch.f.Error, "error", "", "whose error contains this `text`")
	f.StringVar(&ch.f.Key, "key", "", "with this `key`")
	f.StringVar(&ch.f.Topic, "topic", "", "of this `topic`")
	f.StringVar(&ch.f.ID, "id", "", "with this `id`")
	f.StringVar(&ch.from, "from", "", "relay: no broker took them; consumer: a handler failed")
	f.DurationVar(&ch.f.Older, "older-than", 0, "whose last attempt was before this `time`")
	f.DurationVar(&ch.f.Younger, "younger-than", 0, "whose last attempt was within this `time`")
	return ch
}

// some reports whether anything is chosen.
func (ch *choice) some() bool {
	f := &ch.f
	return f.Consumer != "" || f.Type != "" || f.Reason != "" || f.Error != "" || f.Key != "" || f.Topic != "" || f.ID != "" || f.Origin != deadletter.Anywhere || f.Older > 0 || f.Younger > 0 || len(f.Numbers) > 0
}

// check is a usage error for a choice that cannot be.
func (ch *choice) check() error {
	switch ch.from {
	case "":
	case "relay":
		ch.f.Origin = deadletter.FromRelay
	case "consumer":
		ch.f.Origin = deadletter.FromConsumers
	default:
		return usage("--from "+quote(ch.from)+": it is none of relay and consumer", "write --from relay, or leave it out")
	}
	if err := ch.f.Check(); err != nil {
		f := asFailure(err)
		return usage(strings.TrimPrefix(f.Message, "deadletter: filter: "), f.Hint)
	}
	return nil
}

// numbers turns arguments, numbers and ids, into the numbers of messages in a state.
func numbers(ctx context.Context, letters *deadletter.Letters, args []string, state deadletter.State) (ns []int64, err error) {
	for _, arg := range args {
		if n, err := strconv.ParseInt(arg, 10, 64); err == nil && n > 0 {
			ns = append(ns, n)
			continue
		}
		list, err := letters.List(ctx, deadletter.Filter{State: state, ID: arg}, deadletter.Page{})
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return nil, failedWith("no such message "+quote(arg)+" is parked", "copy a number or an id from sixfold dead list or sixfold parked list; sixfold explain says more")
		}
		for i := range list {
			ns = append(ns, list[i].N)
		}
	}
	return ns, nil
}

// openLetters connects to the database.
func (a *app) openLetters(ctx context.Context) (*deadletter.Letters, *database, error) {
	db, err := a.connect(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	letters, err := deadletter.New(db.Store.DeadLetters())
	if err != nil {
		db.close()
		return nil, nil, err
	}
	return letters, db, nil
}

// doer is who is put down in the audit.
func doer(flag string) string {
	if flag != "" {
		return flag
	}
	who, host := "somebody", "this machine"
	if u, err := user.Current(); err == nil && u.Username != "" {
		who = u.Username
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		host = name
	}
	return who + "@" + host
}

// shownLetter is a parked message for JSON.
type shownLetter struct {
	N          int64      `json:"n"`
	State      string     `json:"state"`
	From       string     `json:"from"`
	Consumer   string     `json:"consumer"`
	ID         string     `json:"id"`
	Source     string     `json:"source,omitempty"`
	Type       string     `json:"type"`
	Topic      string     `json:"topic,omitempty"`
	Key        string     `json:"key,omitempty"`
	Unreadable string     `json:"unreadable,omitempty"`
	Attempts   int        `json:"attempts"`
	Redriven   int        `json:"redriven"`
	Reason     string     `json:"reason,omitempty"`
	Error      string     `json:"error,omitempty"`
	Node       string     `json:"node,omitempty"`
	FirstAt    time.Time  `json:"first_at"`
	LastAt     time.Time  `json:"last_at"`
	AgeSeconds float64    `json:"age_seconds"`
	BodyBytes  int        `json:"body_bytes"` // -1: none
	Line       *shownLine `json:"line,omitempty"`
}

type shownLine struct {
	Size       int     `json:"size"`
	First      int64   `json:"first"`
	Blocked    bool    `json:"blocked"`
	Claimed    bool    `json:"claimed"`
	DueSeconds float64 `json:"due_seconds"`
}

func shownOf(l *deadletter.Letter) shownLetter {
	s := shownLetter{N: l.N, State: "waiting", From: "consumer", Consumer: l.Consumer, ID: l.ID, Source: l.Source, Type: l.Type, Topic: l.Topic, Key: l.Key, Unreadable: l.Damaged, Attempts: l.Attempts,
		Redriven: l.Epoch, Reason: l.Reason, Error: l.Error, Node: l.Node, FirstAt: l.FirstAt, LastAt: l.LastAt, AgeSeconds: l.Age.Round(time.Millisecond).Seconds(), BodyBytes: l.BodySize}
	if l.Dead {
		s.State = "dead"
	}
	if l.Relay {
		s.From = "relay"
	}
	if l.Line.ID != 0 {
		s.Line = &shownLine{l.Line.Size, l.Line.Head, l.Line.Blocked, l.Line.Claimed, l.Line.Due.Round(time.Millisecond).Seconds()}
	}
	return s
}

// place says in a few words where in its line a message is.
func place(l *deadletter.Letter) string {
	line := &l.Line
	switch {
	case line.ID == 0:
		return ""
	case line.Blocked && line.Head == l.N:
		return fmt.Sprintf("blocks %d", line.Size-1)
	case line.Blocked:
		return fmt.Sprintf("behind dead %d", line.Head)
	case line.Head != l.N:
		return fmt.Sprintf("behind %d", line.Head)
	case line.Claimed:
		return "in hand"
	case line.Due <= 0:
		return "due"
	}
	return "due in " + short(line.Due)
}

// letterList lists what is dead, or what waits.
func (a *app) letterList(state deadletter.State) *cobra.Command {
	what := "dead letters"
	if state == deadletter.Waiting {
		what = "messages that wait for their next attempt, or behind others"
	}
	c := &cobra.Command{Use: "list", Short: "list " + what, Args: noArguments}
	ch, limit := choiceFlags(c, state), limitFlag(c, 10_000)
	after := c.Flags().Int64("after", 0, "begin behind this `number`, the last one of the page before")
	var topics *deadTopic
	if state == deadletter.Dead {
		topics = a.deadTopicFlags(c)
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		most, err := limit()
		if err == nil {
			err = ch.check()
		}
		if err != nil {
			return err
		}
		if *after < 0 {
			return usage(fmt.Sprintf("--after %d: it is negative", *after), "give the last number of the page before")
		}
		if topics.asked() {
			return topics.list(c.Context(), ch, most)
		}
		letters, db, err := a.openLetters(c.Context())
		if err != nil {
			return err
		}
		defer db.close()
		list, err := letters.List(c.Context(), ch.f, deadletter.Page{After: *after, Limit: most})
		if err != nil {
			return err
		}
		return a.letters(list, most, state)
	}
	return c
}

func (a *app) letters(list []deadletter.Letter, most int, state deadletter.State) error {
	out, rows := []shownLetter{}, [][]string{{"N", "CONSUMER", "TYPE", "KEY", "REASON", "ATTEMPTS", "AGE", "LINE", "ERROR"}}
	for i := range list {
		l := &list[i]
		s := shownOf(l)
		out = append(out, s)
		consumer := l.Consumer
		if l.Relay {
			consumer = "(relay) " + l.Consumer
		}
		rows = append(rows, []string{strconv.FormatInt(l.N, 10), consumer, l.Type, l.Key, l.Reason, strconv.Itoa(l.Attempts), short(l.Age), place(l), cut(l.Error, 60)})
	}
	if a.format == "json" {
		return a.json(out)
	}
	if len(list) == 0 {
		return a.line("%s", map[deadletter.State]string{deadletter.Dead: "there are no such dead letters", deadletter.Waiting: "no such message waits"}[state])
	}
	if err := a.table(rows); err != nil || len(list) < most {
		return err
	}
	return a.note(fmt.Sprintf("There may be more: --after %d", list[len(list)-1].N))
}

// cut shows at most n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// letterError gives what package deadletter says an exit code and a hint.
func letterError(err error) error {
	if errors.Is(err, deadletter.ErrNotFound) {
		return failedWith("no parked message has this number", "it was handled, sent again by the relay, or discarded; copy a number from sixfold dead list")
	}
	return err
}
