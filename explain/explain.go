package explain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/deadletter"
)

// Options of Message. Nil and the zero value are right for most.
type Options struct {
	// Sources that the message may be from. The inbox knows messages by a hash of source and id; sources that were seen
	// lately are tried without being named.
	Sources []string
	// Exact reads whole tables where there is no index on ids.
	Exact bool
}

// maxID is the longest id that can be asked for, in bytes.
const maxID = 255

// Message says what is known about the message with an id. Several consumers, and several messages, may share one.
func Message(ctx context.Context, st Store, id string, o *Options) (*Report, error) {
	if st == nil {
		return nil, errors.New("explain: the store is nil; pass store.Postgres(…).Explain() or that of another database")
	}
	if id == "" || len(id) > maxID || strings.ContainsRune(id, 0) {
		return nil, fmt.Errorf("explain: the id has %d bytes, or a NUL; give the id of a message, 1 to %d bytes", len(id), maxID)
	}
	var opts Options
	if o != nil {
		opts = *o
	}
	r := &Report{ID: id, Findings: []Finding{}}
	sources := slices.Clone(opts.Sources)
	pending, err := st.Pending(ctx, id, opts.Exact)
	if err != nil {
		return nil, err
	}
	for i := range pending {
		r.add(pendingFinding(&pending[i]))
		sources = append(sources, pending[i].Source)
	}
	parked, err := st.Parked(ctx, id)
	if err != nil {
		return nil, err
	}
	for i := range parked {
		r.add(parkedFinding(&parked[i]))
		sources = append(sources, parked[i].Source)
	}
	delivered, err := st.Delivered(ctx, id, opts.Exact)
	if err != nil {
		return nil, err
	}
	for i := range delivered {
		r.add(deliveredFinding(&delivered[i]))
		sources = append(sources, delivered[i].Source)
	}
	slices.Sort(sources)
	records, tried, err := st.Handled(ctx, id, slices.Compact(sources))
	if err != nil {
		return nil, err
	}
	for i := range records {
		r.add(recordFinding(&records[i]))
	}
	changes, err := st.Audit(ctx, id)
	if err != nil {
		return nil, err
	}
	for i := range changes {
		r.add(changeFinding(&changes[i]))
	}
	r.Found = len(r.Findings) > 0
	r.look(id, tried, opts.Exact)
	return r, nil
}

func (r *Report) add(f Finding) { r.Findings = append(r.Findings, f) }

// look says what was looked at, and why nothing may be left.
func (r *Report) look(id string, tried []string, exact bool) {
	_, err := sixfold.ParseID(id)
	switch {
	case err != nil:
		r.Looked = append(r.Looked, "outbox and local were not looked at, since their ids are UUIDs and this is none")
	case exact:
		r.Looked = append(r.Looked, "outbox, local and what is kept of delivered rows: every row")
	default:
		r.Looked = append(r.Looked, "outbox, local and what is kept of delivered rows: around the place where the time in the id leads; exact looks at every row")
	}
	for i := range tried {
		tried[i] = quote(tried[i])
	}
	r.Looked = append(r.Looked, "parked messages and dead letters, and the audit: by id")
	r.Looked = append(r.Looked, "the inbox of every consumer, for messages from the sources "+strings.Join(tried, ", ")+"; it knows a message by a hash of source and id, so name the source if it is another one")
	if !r.Found {
		r.Looked = append(r.Looked, "what is gone may have been delivered to a broker (kept only with KeepDelivered), handled longer ago than the inbox remembers (7 days, unless Retention says otherwise), "+
			"handled by a consumer in another database or without an inbox, removed by hand, rolled back, or never published here")
	}
}

func pendingFinding(p *Pending) Finding {
	f := Finding{Place: "outbox", State: "pending", Facts: map[string]any{"seq": p.Seq, "class": p.Class, "topic": p.Topic, "key": p.Key, "type": p.Type, "partition": p.Partition, "attempts": p.Attempts,
		"age_seconds": seconds(p.Age), "node": p.Lease.Node, "node_alive": p.Lease.Alive, "epoch": p.Lease.Epoch, "nodes": p.Lease.Nodes, "ahead": p.Ahead}}
	where, who := "to topic "+quote(p.Topic), "relay"
	if p.Local {
		f.Place, f.Consumer, where, who = "local", p.Class, "to the local consumer "+quote(p.Class), "consumer"
	}
	f.say("It waits in %s as row %d, on its way %s, for %s.", f.Place, p.Seq, where, ago(p.Age))
	f.say("Its class is %s and its partition %d%s.", class(p.Class), p.Partition, ifKey(p.Key))
	l := &p.Lease
	switch {
	case !l.Known || l.Node == "" && l.Nodes == 0:
		f.say("Nobody consumes the class: no living %s has a lease of it. Start one.", who)
		f.State = "nobody"
	case l.Node == "":
		f.say("Nobody has the partition at this moment, though %d nodes of the class live; one of them takes it within a lease.", l.Nodes)
	case !l.Alive:
		f.say("Node %s had the partition (epoch %d) and died %s ago; %d other nodes of the class live. One of them takes it over; if there is none, start one.", l.Node, l.Epoch, ago(-l.Left), l.Nodes)
		f.State = "orphaned"
	default:
		f.say("Node %s has the partition (epoch %d) and is alive for another %s at least.", l.Node, l.Epoch, ago(l.Left))
	}
	if p.Ahead > 0 {
		f.say("Of the %d rows before it %d are of the same class and partition.", p.Looked, p.Ahead)
	}
	if p.Behind > 0 {
		f.say("Row %d has the same key and comes first.", p.Behind)
	}
	if p.Attempts > 0 {
		f.say("%d attempts were counted: whoever had it before may have crashed at it.", p.Attempts)
	}
	for i := range p.Writers {
		f.say("%s", writer(&p.Writers[i]))
	}
	if l.Alive && p.Behind == 0 && p.Age > time.Minute {
		f.say("The owner reads it again and again. Why it does not leave, only the %s knows: its health names blocked keys, an open circuit breaker and an unreachable broker; its log too.", who)
	}
	return f
}

func writer(w *Writer) string {
	text := fmt.Sprintf("The transaction of process %d", w.PID)
	if w.State == "" {
		text += " (its session is not shown to this role)"
	} else {
		text += fmt.Sprintf(" (user %s, application %s, %s)", quote(w.User), quote(w.Application), w.State)
	}
	text += fmt.Sprintf(" has written to the table, has been open for %s, and may hold an earlier row or a number before it", ago(w.Open))
	if w.Waits {
		text += "; it waits for a lock"
		if len(w.BlockedBy) > 0 {
			pids := make([]string, len(w.BlockedBy))
			for i, pid := range w.BlockedBy {
				pids[i] = strconv.FormatInt(pid, 10)
			}
			text += " of process " + strings.Join(pids, ", ")
		}
	}
	return text + "."
}

func parkedFinding(d *deadletter.Detail) Finding {
	f := Finding{Place: "parked", State: "waiting", Consumer: d.Consumer, Facts: map[string]any{"n": d.N, "key": d.Key, "type": d.Type, "topic": d.Topic, "relay": d.Relay, "attempts": d.Attempts, "redriven": d.Epoch,
		"reason": d.Reason, "error": d.Error, "node": d.Node, "first_at": d.FirstAt, "last_at": d.LastAt, "line_size": d.Line.Size, "line_first": d.Line.Head, "blocked": d.Line.Blocked, "claimed": d.Line.Claimed,
		"due_seconds": seconds(d.Line.Due)}}
	who := "consumer " + quote(d.Consumer)
	if d.Relay {
		who = "the relay of " + class(d.Consumer)
	}
	l := &d.Line
	if d.Dead {
		f.State = "dead"
		f.say("It is a dead letter of %s, number %d, since %s (%s ago), for the reason %q after %d attempts.", who, d.N, d.LastAt.Format(time.RFC3339), ago(d.Age), d.Reason, d.Attempts)
		switch {
		case l.ID != 0 && l.Size > 1:
			f.say("It blocks its key %s: %d messages wait behind it.", quote(d.Key), l.Size-1)
		case l.ID != 0:
			f.say("It blocks its key %s.", quote(d.Key))
		default:
			f.say("It holds nothing back.")
		}
		f.say("Send it again with sixfold dead redrive %d, after what was wrong is mended, or discard it.", d.N)
	} else {
		f.say("It is parked for %s, number %d%s.", who, d.N, ifKey(d.Key))
		switch {
		case l.Blocked:
			f.say("It waits behind the dead letter %d of its key, until that one is sent again or discarded.", l.Head)
		case l.Head != d.N && l.Head != 0:
			f.say("It waits in a line of %d messages, behind number %d.", l.Size, l.Head)
		}
		switch {
		case l.Claimed:
			f.say("A consumer has the line in hand, for %s at most unless it keeps it.", ago(l.Due))
		case !l.Blocked && l.Due <= 0:
			f.say("The line is due: the next consumer that looks takes it. If none does, none of that name is running.")
		case !l.Blocked:
			f.say("The next attempt of the line is in %s.", ago(l.Due))
		}
		f.say("%d attempts at it failed.", d.Attempts)
	}
	if d.Epoch > 0 {
		f.say("It was sent again %d times.", d.Epoch)
	}
	if d.Damaged != "" {
		f.say("Its bytes could not be read as an envelope: %s.", quote(d.Damaged))
	}
	if d.Error != "" {
		f.say("Its last error, on %s: %s", quote(d.Node), cut(d.Error, 400))
	}
	return f
}

func deliveredFinding(d *Delivered) Finding {
	f := Finding{Place: "delivered", State: "delivered", Facts: map[string]any{"seq": d.Seq, "class": d.Class, "topic": d.Topic, "at": d.At}}
	if d.Local {
		f.Consumer = d.Class
		f.say("The local consumer %s took it as row %d at %s (%s ago).", quote(d.Class), d.Seq, d.At.Format(time.RFC3339), ago(d.Age))
	} else {
		f.say("The broker of class %s confirmed it for topic %s as row %d at %s (%s ago).", class(d.Class), quote(d.Topic), d.Seq, d.At.Format(time.RFC3339), ago(d.Age))
	}
	return f
}

func recordFinding(r *Record) Finding {
	f := Finding{Place: "inbox", State: r.State, Consumer: r.Consumer, Facts: map[string]any{"source": r.Source, "attempts": r.Attempts, "at": r.At}}
	switch r.State {
	case "handled":
		f.say("Consumer %s handled it at %s (%s ago); it came from %s.", quote(r.Consumer), r.At.Format(time.RFC3339), ago(r.Age), quote(r.Source))
		if r.Attempts > 0 {
			f.say("%d attempts were counted.", r.Attempts)
		}
	case "suspect":
		f.say("Consumer %s has begun it %d times and not ended (last %s ago): a handler runs, or crashed, and the broker delivers it again.", quote(r.Consumer), r.Attempts, ago(r.Age))
	case "parked":
		f.say("The inbox of %s knows it as parked since %s: copies that arrive are acknowledged and not run.", quote(r.Consumer), r.At.Format(time.RFC3339))
	default:
		f.say("The inbox of %s knows it as dead since %s: copies that arrive are acknowledged and not run.", quote(r.Consumer), r.At.Format(time.RFC3339))
	}
	return f
}

func changeFinding(c *deadletter.Change) Finding {
	f := Finding{Place: "audit", State: c.Action, Consumer: c.Consumer, Facts: map[string]any{"at": c.At, "who": c.Who, "run": c.Run, "n": c.N, "why": c.Reason}}
	why := ""
	if c.Reason != "" {
		why = ", because: " + cut(c.Reason, 200)
	}
	f.say("%s did this at %s: %s of number %d%s.", quote(c.Who), c.At.Format(time.RFC3339), c.Action, c.N, why)
	return f
}

func class(name string) string {
	if name == "" {
		return "the default class"
	}
	return quote(name)
}

func ifKey(key string) string {
	if key == "" {
		return ", without a key"
	}
	return ", of the key " + quote(key)
}
