package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
)

// Misfire says what becomes of occurrences that were missed, because no scheduler ran or none reached the database.
type Misfire int

const (
	// FireOnce sends the latest of those that are due, for all of them.
	FireOnce Misfire = iota
	// FireAll sends the latest MisfireCap of them, in their order, a hundred a second.
	FireAll
	// FireNone sends none of those that are later than Grace.
	FireNone
)

// Recurring is a schedule as its user declares it.
type Recurring struct {
	// Name is its own among all schedules of the tables: 1 to 200 bytes, without control characters.
	Name string
	// Spec says when it is due; see Spec. Zone is the IANA zone whose clocks it means; empty: UTC.
	Spec, Zone string
	// Message is what is sent at each occurrence, to where its routes say now, and Options what Publish takes; not ID, Unique or
	// a delay. Its time is the planned one of the occurrence, and its id is made of that and the name.
	Message sixfold.Message
	Options []outbox.Option
	// Missing and Repeated are for changes of the clock, Start and End bound it; see Calendar.
	Missing    Missing
	Repeated   Repeated
	Start, End time.Time
	// Misfire is the policy for occurrences later than Grace (default a minute). MisfireCap is for FireAll; default 100, at
	// most 10,000.
	Misfire    Misfire
	MisfireCap int
	Grace      time.Duration
	// NoOverlap leaves an occurrence out while the message of the one before is not handled: it waits for its consumer, or is
	// parked. All routes of the message must lead to local consumers, since of others nobody here knows.
	NoOverlap bool
	// Jitter delays each occurrence by up to so much, the same for all processes.
	Jitter time.Duration
	// MaxRuns ends it after so many occurrences; 0: never.
	MaxRuns int
}

const (
	maxScheduleName = 200
	defaultGrace    = time.Minute
	defaultCap      = 100
	maxCap          = 10_000
)

// definition is a Recurring with its message, as it is kept.
type definition struct {
	Spec       string        `json:"spec"`
	Zone       string        `json:"zone"`
	Missing    Missing       `json:"missing,omitempty"`
	Repeated   Repeated      `json:"repeated,omitempty"`
	Start      time.Time     `json:"start,omitzero"`
	End        time.Time     `json:"end,omitzero"`
	Misfire    Misfire       `json:"misfire,omitempty"`
	MisfireCap int           `json:"misfire_cap,omitempty"`
	Grace      time.Duration `json:"grace_ns,omitempty"`
	NoOverlap  bool          `json:"no_overlap,omitempty"`
	Jitter     time.Duration `json:"jitter_ns,omitempty"`
	MaxRuns    int           `json:"max_runs,omitempty"`
	Message    message       `json:"message"`
}

// message is what each occurrence sends.
type message struct {
	Type          string            `json:"type"`
	Source        string            `json:"source,omitempty"`
	Subject       string            `json:"subject,omitempty"`
	Key           string            `json:"key,omitempty"`
	ContentType   string            `json:"content_type"`
	CorrelationID string            `json:"correlation_id,omitempty"` // empty: its own id
	ReplyTo       string            `json:"reply_to,omitempty"`
	Expires       time.Duration     `json:"expires_ns,omitempty"`
	Headers       map[string]string `json:"headers,omitempty"`
	Body          []byte            `json:"body"` // null and empty are told apart
	To            []target          `json:"to"`
}

// target is one destination.
type target struct {
	Local     bool   `json:"local,omitempty"`
	Class     string `json:"class,omitempty"`
	Topic     string `json:"topic,omitempty"`
	MustReach bool   `json:"must_reach,omitempty"`
}

// define checks r and makes what is kept of it.
func (s *Scheduler) define(r *Recurring) (d definition, cal Calendar, err error) {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("schedule: %.64q: %w "+format, append([]any{r.Name, sixfold.ErrInvalid}, args...)...))
	}
	if err := checkScheduleName(r.Name); err != nil {
		errs = append(errs, err)
	}
	d = definition{Spec: r.Spec, Zone: r.Zone, Missing: r.Missing, Repeated: r.Repeated, Start: r.Start.UTC().Round(0), End: r.End.UTC().Round(0), Misfire: r.Misfire, Grace: r.Grace,
		NoOverlap: r.NoOverlap, Jitter: r.Jitter, MaxRuns: r.MaxRuns}
	if d.Zone == "" {
		d.Zone = "UTC"
	}
	cal, err = d.calendar()
	errs = append(errs, err)
	d.Spec = cal.Spec.String()
	if r.Misfire < FireOnce || r.Misfire > FireNone {
		bad("Misfire %d: give FireOnce, FireAll or FireNone", int(r.Misfire))
	}
	if r.Misfire == FireAll {
		if d.MisfireCap = r.MisfireCap; d.MisfireCap == 0 {
			d.MisfireCap = defaultCap
		}
	}
	if r.MisfireCap < 0 || r.MisfireCap > maxCap {
		bad("MisfireCap %d: give 1 to %d, or 0 for %d", r.MisfireCap, maxCap, defaultCap)
	}
	if r.Grace < 0 || r.Jitter < 0 || r.MaxRuns < 0 {
		bad("Grace %v, Jitter %v and MaxRuns %d: none may be negative", r.Grace, r.Jitter, r.MaxRuns)
	}
	if d.Grace == 0 {
		d.Grace = defaultGrace
	}
	if r.Message == nil {
		bad("Message: it is nil; give what is to be sent")
		return d, cal, errors.Join(errs...)
	}
	d.Message, err = s.compose(r)
	errs = append(errs, err)
	for _, to := range d.Message.To {
		if r.NoOverlap && !to.Local {
			bad("NoOverlap: its message goes to topic %q as well, and whether it was handled there is not known here; route it to local consumers only, or leave NoOverlap out", to.Topic)
		}
	}
	return d, cal, errors.Join(errs...)
}

func checkScheduleName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("schedule: name %q: %w: it is empty; give the schedule one of its own", name, sixfold.ErrInvalid)
	case len(name) > maxScheduleName:
		return fmt.Errorf("schedule: name %.64q: %w: it has %d bytes, the limit is %d", name, sixfold.ErrInvalid, len(name), maxScheduleName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("schedule: name %.64q: %w: it has control characters or is not UTF-8; use letters, digits, dots and dashes", name, sixfold.ErrInvalid)
	}
	return nil
}

// compose drafts the message. It is the first of its chain whatever ctx the caller has, since each occurrence is. A seal would be
// that of a message with another id and time, and of another one at each declaration.
func (s *Scheduler) compose(r *Recurring) (m message, err error) {
	id, broker, local, err := s.box.Rows(context.Background(), outbox.Of(r.Message, append(slices.Clone(r.Options), outbox.Unsealed())...))
	if err != nil {
		return m, err
	}
	for i, rows := range [2][]outbox.Row{outbox.ToBroker: broker, outbox.ToLocal: local} {
		for _, row := range rows {
			env := sixfold.Envelope{ID: id}
			flags, err := outbox.DecodeAttrs(row.Attrs, &env)
			if err != nil {
				return m, err
			}
			if row.Claim != "" {
				return m, fmt.Errorf("schedule: %.64q: %w options: ID and Unique are for one message; leave them out, since each occurrence has an id of its own", r.Name, sixfold.ErrInvalid)
			}
			to := append(m.To, target{Local: outbox.Table(i) == outbox.ToLocal, Class: row.Class, Topic: row.Topic, MustReach: flags.MustReach})
			m = message{Type: env.Type, Source: env.Source, Subject: env.Subject, Key: row.Key, ContentType: env.ContentType, CorrelationID: env.CorrelationID,
				ReplyTo: env.ReplyTo, Headers: env.Headers, Body: row.Body, To: to}
			if env.CorrelationID == id {
				m.CorrelationID = ""
			}
			if !env.Expires.IsZero() {
				m.Expires = env.Expires.Sub(env.Time).Round(time.Microsecond)
			}
		}
	}
	return m, nil
}

// calendar is when it is due.
func (d *definition) calendar() (Calendar, error) {
	spec, err := Parse(d.Spec)
	zone, zerr := time.LoadLocation(d.Zone)
	if zerr == nil && d.Zone == "Local" {
		zerr = errors.New("it is another one on each machine")
	}
	if zerr != nil {
		zerr = fmt.Errorf("schedule: zone %.64q: %w: %w; give an IANA name such as Europe/Berlin, and a machine that has the zones (package time/tzdata has them, too)", d.Zone, sixfold.ErrInvalid, zerr)
		zone = nil
	}
	c := Calendar{Spec: spec, Zone: zone, Missing: d.Missing, Repeated: d.Repeated, Start: d.Start, End: d.End}
	if err := errors.Join(err, zerr); err != nil {
		return c, err
	}
	return c, c.Check()
}

func (d *definition) encode() ([]byte, error) { return json.Marshal(d) }

func readDefinition(b []byte) (d definition, cal Calendar, err error) {
	if err = json.Unmarshal(b, &d); err != nil {
		return d, cal, fmt.Errorf("schedule: read the definition: %w", err)
	}
	if len(d.Message.To) == 0 {
		return d, cal, errors.New("schedule: read the definition: its message has no destination")
	}
	cal, err = d.calendar()
	return d, cal, err
}

// Details are a schedule for people.
type Details struct {
	Entry
	// Recurring as it was declared, but for Message and Options.
	Recurring Recurring
	// Type, Key and Body of the message; To are the topics and "local:" consumers to which it goes.
	Type, Key string
	Body      []byte
	To        []string
	// Now is the database's clock.
	Now time.Time
}

// details reads what an Entry holds. What cannot be read is its Problem.
func details(e Entry, now time.Time) Details {
	out := Details{Entry: e, Now: now}
	d, _, err := readDefinition(e.Definition)
	if err != nil && out.Problem == "" {
		out.Problem = err.Error()
	}
	out.Recurring = Recurring{Name: e.Name, Spec: d.Spec, Zone: d.Zone, Missing: d.Missing, Repeated: d.Repeated, Start: d.Start, End: d.End, Misfire: d.Misfire,
		MisfireCap: d.MisfireCap, Grace: d.Grace, NoOverlap: d.NoOverlap, Jitter: d.Jitter, MaxRuns: d.MaxRuns}
	out.Type, out.Key, out.Body = d.Message.Type, d.Message.Key, d.Message.Body
	for _, to := range d.Message.To {
		if to.Local {
			out.To = append(out.To, "local:"+to.Class)
		} else {
			out.To = append(out.To, to.Topic)
		}
	}
	return out
}
