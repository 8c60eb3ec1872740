package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// mySender writes to the queue. It remembers the groups of topics, so that rows go in one statement and no transaction: a
// process that stops in the middle holds no topic. The statement looks whether they are still the groups.
type mySender struct {
	*my
	head, guard1, guard2, guard3 string
	load1, load2                 string
	limits                       myLimit

	mu     sync.Mutex
	topics map[string]myTopic // not changed once they are here
}

// myTopic is what is known of a topic.
type myTopic struct {
	stamp  int64
	groups []int64 // at least one
}

// myMaxBody is what goes through a server with the packets that it has when nobody has changed that: half of one, with room
// for attributes. Check asks for packets of that size.
const (
	myMaxBody   = 4 << 20
	myMinPacket = 16 << 20
)

// rememberedTopics is how many topics are remembered at most.
const rememberedTopics = 4096

const myTooManyRows = 1242 // a subquery in place of a value answers several

// errStale says that the groups of a topic have changed.
var errStale = errors.New("the groups have changed meanwhile")

const myQueueRow = "?, ?, ?, ?, ?, ?)"

func newMySender(m *my) *mySender {
	text := func(sql string) string { return myStatementOf(m.names, sql).sql }
	return &mySender{my: m, limits: newMyLimit(m), topics: map[string]myTopic{},
		head: text("INSERT INTO {{queue}} (attempts, class, partition, id, key, attrs, body) VALUES ("),
		// Locks the topics in the order of the key, before the first row draws its number. Two rows in place of a value are
		// an error in every mode of the server, and are asked for only where a topic is not as it is remembered.
		guard1: text("(SELECT CASE WHEN sum(stamp IN ("),
		guard2: text(" THEN 0 ELSE (SELECT 1 UNION ALL SELECT 2) END FROM {{queue_topic}} FORCE INDEX (PRIMARY) WHERE topic IN ("),
		guard3: ") FOR UPDATE), ",
		load1:  text("SELECT t.topic, t.stamp, g.id FROM {{queue_topic}} t FORCE INDEX (PRIMARY) STRAIGHT_JOIN {{queue_group}} g ON g.topic = t.topic AND g.leaving = 0 WHERE t.topic IN ("),
		load2:  ") ORDER BY g.id",
	}
}

// send writes rows for all groups of their topics.
func (s *mySender) send(ctx context.Context, rows []outbox.Row) (missing []string, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	names := topicsOf(rows)
	for {
		topics, missing, err := s.known(ctx, names)
		if err != nil || len(missing) > 0 {
			return missing, err
		}
		total := 0
		for i := range rows {
			total += sizeOf(&rows[i]) * len(topics[rows[i].Topic].groups)
		}
		limit, err := s.limits.of(ctx, total, s.db.EachRow)
		if err != nil {
			return nil, err
		}
		for i := range rows {
			if n := sizeOf(&rows[i]); n > limit {
				return nil, fmt.Errorf("%w: row %d of %d has %d bytes, the limit is %d by the server's max_allowed_packet; raise it, or put the data elsewhere and send a reference", bus.ErrRefused, i+1, len(rows), n, limit)
			}
		}
		err = s.write(ctx, rows, names, topics, min(limit, roundTrip))
		if !errors.Is(err, errStale) || ctx.Err() != nil {
			return nil, err
		}
		s.forget(names)
	}
}

// topicsOf are the topics of rows, each once.
func topicsOf(rows []outbox.Row) []string {
	var names []string
	for i := range rows {
		if i == 0 || rows[i].Topic != rows[i-1].Topic {
			names = append(names, rows[i].Topic)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// known answers what is known of topics, and those that nobody wants.
func (s *mySender) known(ctx context.Context, names []string) (topics map[string]myTopic, missing []string, err error) {
	topics = make(map[string]myTopic, len(names))
	var ask []any
	s.mu.Lock()
	for _, name := range names {
		if t, ok := s.topics[name]; ok {
			topics[name] = t
		} else {
			ask = append(ask, name)
		}
	}
	s.mu.Unlock()
	if len(ask) == 0 {
		return topics, nil, nil
	}
	var name string
	var stamp, id int64
	err = s.db.EachRow(ctx, s.load1+marks(len(ask))+s.load2, ask, func(r sqltx.Rows) error {
		err := r.Scan(&name, &stamp, &id)
		topics[name] = myTopic{stamp, append(topics[name].groups, id)}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range ask {
		t, ok := topics[name.(string)]
		if !ok {
			missing = append(missing, name.(string))
			continue
		}
		if len(s.topics) >= rememberedTopics {
			clear(s.topics)
		}
		s.topics[name.(string)] = t
	}
	return topics, missing, nil
}

func (s *mySender) forget(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		delete(s.topics, name)
	}
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// write writes rows in one statement, or in several of one transaction.
func (s *mySender) write(ctx context.Context, rows []outbox.Row, names []string, topics map[string]myTopic, limit int) error {
	statements := s.statements(rows, names, topics, limit)
	if len(statements) == 1 {
		_, err := s.db.ExecSQL(ctx, statements[0].SQL, statements[0].Args...)
		return stale(err)
	}
	return s.db.InTx(ctx, func(tx sqltx.Tx) error {
		for _, one := range statements {
			if _, err := tx.Exec(ctx, one.SQL, one.Args...); err != nil {
				return stale(err)
			}
		}
		return nil
	})
}

func stale(err error) error {
	if mysqlCode(err) == myTooManyRows {
		return errStale
	}
	return err
}

// statements are the INSERTs, of which the first locks all topics. Every group has a row of its own in them.
func (s *mySender) statements(rows []outbox.Row, names []string, topics map[string]myTopic, limit int) (all []sqltx.Statement) {
	var b strings.Builder
	var args []any
	n, size := 0, 0
	end := func() {
		if n > 0 {
			all = append(all, sqltx.Statement{SQL: b.String(), Args: args})
		}
		b.Reset()
		args, n, size = nil, 0, 0
	}
	for i := range rows {
		r := &rows[i]
		for _, group := range topics[r.Topic].groups {
			if n == myRowsAtMost || size+sizeOf(r) > limit {
				end()
			}
			switch {
			case n > 0:
				b.WriteString(", (0, " + myQueueRow)
			case len(all) > 0:
				b.WriteString(s.head + "0, " + myQueueRow)
			default:
				b.WriteString(s.head)
				args = s.guard(&b, args, names, topics)
				b.WriteString(myQueueRow)
			}
			n, size = n+1, size+sizeOf(r)
			args = append(args, group, r.Partition, r.ID, orNil(r.Key), r.Attrs, r.Body)
			if r.Attrs == nil {
				args[len(args)-2] = []byte{}
			}
			if r.Body == nil {
				args[len(args)-1] = nil
			}
		}
	}
	end()
	return all
}

// guard writes the expression that locks the topics and looks at their stamps.
func (s *mySender) guard(b *strings.Builder, args []any, names []string, topics map[string]myTopic) []any {
	fmt.Fprintf(b, "%s%s)) = %d%s%s%s", s.guard1, marks(len(names)), len(names), s.guard2, marks(len(names)), s.guard3)
	for _, name := range names {
		args = append(args, topics[name].stamp)
	}
	for _, name := range names {
		args = append(args, name)
	}
	return args
}
