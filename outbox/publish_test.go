package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

type placed struct{ ID string }

func (placed) MessageName() string  { return "orders.placed" }
func (p placed) MessageKey() string { return p.ID }

type charge struct {
	sixfold.Returns[int] `json:"-"`
	Cents                int
}

func (charge) MessageName() string { return "payments.charge" }

type odd struct{ V any }

func (odd) MessageName() string { return "test.odd" }

type nameless struct{}

func (nameless) MessageName() string { return "not a name" }

// shop is an outbox of placed (to a topic and a local consumer), charge and odd.
func shop(t testing.TB, db *outbox.FakeDB) *outbox.Outbox {
	t.Helper()
	box, err := outbox.New(db, &outbox.Options{Source: "shop", MaxBody: 4000},
		outbox.To("orders", placed{}), outbox.ToConsumer("shipping", placed{}), outbox.To("payments", charge{}).Via("bank"), outbox.To("odd", odd{}).MustReach())
	if err != nil {
		t.Fatal(err)
	}
	return box
}

// rows are the committed rows of both tables.
func rows(db *outbox.FakeDB) (out []outbox.Row) {
	for _, table := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		for _, seq := range db.Left(table) {
			out = append(out, db.Row(table, seq))
		}
	}
	return out
}

// guarantees: O1, O2, O5
func TestPublishWritesARowForEachDestination(t *testing.T) {
	db := outbox.NewFakeDB()
	box := shop(t, db)
	tx := db.Begin()
	id, err := box.Publish(t.Context(), tx.Tx(), placed{"o1"}, outbox.Header("a", "1"), outbox.Headers(map[string]string{"b": "2"}), outbox.Subject("s"), outbox.Expires(time.Hour), outbox.Correlation("c"), outbox.ReplyTo("r"))
	if err != nil {
		t.Fatal(err)
	}
	if got := rows(db); len(got) != 0 {
		t.Fatalf("before the commit: %v", got)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	got := rows(db)
	if len(got) != 2 || got[0].Topic != "orders" || got[0].Class != "" || got[1].Topic != "" || got[1].Class != "shipping" {
		t.Fatalf("%+v", got)
	}
	for _, r := range got {
		var env sixfold.Envelope
		flags, err := outbox.DecodeAttrs(r.Attrs, &env)
		if err != nil || r.ID != id || r.Key != "o1" || r.Partition != outbox.PartitionOf("o1") || string(r.Body) != `{"ID":"o1"}` || flags.Relayed {
			t.Errorf("%+v, %v, %v", r, flags, err)
		}
		if env.Source != "shop" || env.Type != "orders.placed" || env.Subject != "s" || env.CorrelationID != "c" || env.ReplyTo != "r" || !env.Expires.Equal(env.Time.Add(time.Hour)) ||
			!maps.Equal(env.Headers, map[string]string{"a": "1", "b": "2"}) {
			t.Errorf("%#v", env)
		}
	}
	rolled := db.Begin()
	if _, err := box.Publish(t.Context(), rolled.Tx(), placed{"o2"}); err != nil {
		t.Fatal(err)
	}
	_ = rolled.Rollback()
	if n := len(rows(db)); n != 2 {
		t.Errorf("%d rows after a rollback", n)
	}
}

// An event may miss, a command must reach, unless the route says otherwise. guarantees: R1
func TestPublishMustReach(t *testing.T) {
	db := outbox.NewFakeDB()
	box, err := outbox.New(db, nil, outbox.To("a", placed{}), outbox.To("b", placed{}).MustReach(), outbox.To("c", charge{}), outbox.To("d", charge{}).MayMiss(), outbox.To("e", charge{}).Via("x"))
	if err != nil {
		t.Fatal(err)
	}
	tx := db.Begin()
	if _, err := box.PublishAll(t.Context(), tx.Tx(), outbox.Of(placed{}), outbox.Of(charge{}), outbox.Of(odd{}, outbox.Topic("f"))); err != nil {
		t.Fatal(err)
	}
	_ = tx.Commit()
	got := ""
	for _, r := range rows(db) {
		flags, _ := outbox.DecodeAttrs(r.Attrs, &sixfold.Envelope{})
		got += fmt.Sprintf("%s %s %v, ", r.Class, r.Topic, flags.MustReach)
	}
	if want := " a false,  b true,  c true,  d false, x e true,  f true, "; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPublishRefuses(t *testing.T) {
	db := outbox.NewFakeDB()
	box := shop(t, db)
	many := map[string]string{}
	for i := range 10_000 {
		many[fmt.Sprint("h", i)] = "v"
	}
	opts := func(o ...outbox.Option) []outbox.Option { return o }
	for name, c := range map[string]struct {
		m    sixfold.Message
		opts []outbox.Option
		is   error
		say  string
	}{
		"nil message":         {nil, nil, sixfold.ErrInvalid, "it is nil"},
		"nil pointer":         {(*placed)(nil), nil, sixfold.ErrInvalid, "nil *outbox_test.placed"},
		"a bad name":          {nameless{}, nil, sixfold.ErrInvalid, "message name"},
		"channel":             {odd{make(chan int)}, nil, sixfold.ErrInvalid, "cannot be encoded"},
		"NaN":                 {odd{math.NaN()}, nil, sixfold.ErrInvalid, "cannot be encoded"},
		"no route":            {routeless{}, nil, outbox.ErrNoRoute, `"test.routeless"; give outbox.New a route`},
		"one byte too many":   {odd{strings.Repeat("x", 4000-len(`{"V":""}`)+1)}, nil, sixfold.ErrInvalid, "it has 4001 bytes, the limit is 4000"},
		"id empty":            {placed{}, opts(outbox.ID("")), sixfold.ErrInvalid, `id ""`},
		"id no UUID":          {placed{}, opts(outbox.ID("4711")), sixfold.ErrInvalid, `id "4711"`},
		"id and unique":       {placed{}, opts(outbox.ID(sixfold.NewID()), outbox.Unique("u", 0)), sixfold.ErrInvalid, "ID and Unique"},
		"unique empty":        {placed{}, opts(outbox.Unique("", 0)), sixfold.ErrInvalid, "it is empty"},
		"unique of 256 bytes": {placed{}, opts(outbox.Unique(strings.Repeat("u", 256), 0)), sixfold.ErrInvalid, "256 bytes, the limit is 255"},
		"unique with NUL":     {placed{}, opts(outbox.Unique("a\x00", 0)), sixfold.ErrInvalid, "NUL"},
		"unique not UTF-8":    {placed{}, opts(outbox.Unique("\xff", 0)), sixfold.ErrInvalid, "UTF-8"},
		"unique in the past":  {placed{}, opts(outbox.Unique("u", -1)), sixfold.ErrInvalid, "-1ns"},
		"expiry now":          {placed{}, opts(outbox.Expires(0)), sixfold.ErrInvalid, "expiry in 0s"},
		"expiry in year 2300": {placed{}, opts(outbox.Expires(math.MaxInt64), outbox.Expires(math.MaxInt64)), nil, ""},
		"topic empty":         {placed{}, opts(outbox.Topic("")), sixfold.ErrInvalid, `topic ""`},
		"topic of 10 kB":      {placed{}, opts(outbox.Topic(strings.Repeat("t", 10_000))), sixfold.ErrInvalid, "10000 bytes"},
		"topic with NUL":      {placed{}, opts(outbox.Topic("a\x00")), sixfold.ErrInvalid, "topic"},
		"topic with a space":  {placed{}, opts(outbox.Topic("a b")), sixfold.ErrInvalid, "topic"},
		"topic with *":        {placed{}, opts(outbox.Topic("a.*")), sixfold.ErrInvalid, "wildcard"},
		"key of 10 kB":        {placed{}, opts(outbox.Key(strings.Repeat("k", 10_000))), sixfold.ErrInvalid, "10000 bytes"},
		"key with NUL":        {placed{}, opts(outbox.Key("a\x00b")), sixfold.ErrInvalid, "NUL"},
		"key not UTF-8":       {placed{}, opts(outbox.Key("\xff")), sixfold.ErrInvalid, "UTF-8"},
		"header without key":  {placed{}, opts(outbox.Header("", "v")), sixfold.ErrInvalid, "the key is empty"},
		"header with CR":      {placed{}, opts(outbox.Header("a", "b\rc")), sixfold.ErrInvalid, "CR"},
		"header key with LF":  {placed{}, opts(outbox.Header("a\n", "b")), sixfold.ErrInvalid, "header"},
		"header not ASCII":    {placed{}, opts(outbox.Header("ä", "b")), sixfold.ErrInvalid, "header"},
		"reserved header":     {placed{}, opts(outbox.Header("Sixfold-Attempt", "1")), sixfold.ErrInvalid, "reserved"},
		"10,000 headers":      {placed{}, opts(outbox.Headers(many)), sixfold.ErrInvalid, "there are 10000"},
	} {
		t.Run(name, func(t *testing.T) {
			tx := db.Begin()
			defer tx.Rollback()
			id, err := box.Publish(t.Context(), tx.Tx(), c.m, c.opts...)
			if c.is == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if id != "" || !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.say) || len(err.Error()) > 500 {
				t.Errorf("%q, %v; want %q", id, err, c.say)
			}
			if err := tx.Commit(); err != nil || len(rows(db)) != 0 {
				t.Errorf("%v, %v", err, rows(db))
			}
		})
	}
}

type routeless struct{}

func (routeless) MessageName() string { return "test.routeless" }

func TestPublishNeedsATransaction(t *testing.T) {
	db := outbox.NewFakeDB()
	box := shop(t, db)
	if _, err := box.Publish(t.Context(), sqltx.Tx{}, placed{}); !errors.Is(err, sqltx.ErrNoTx) {
		t.Error(err)
	}
	if _, err := box.PublishAll(t.Context(), sqltx.Std(nil), outbox.Of(placed{})); !errors.Is(err, sqltx.ErrNoTx) {
		t.Error(err)
	}
	if err := box.PublishEnvelope(t.Context(), sqltx.Tx{}, &sixfold.Envelope{}); !errors.Is(err, sqltx.ErrNoTx) {
		t.Error(err)
	}
	if err := outbox.Do(t.Context(), box, sqltx.DB[int]{}, nil); !errors.Is(err, sqltx.ErrNoDB) {
		t.Error(err)
	}
	finished := db.Begin()
	_ = finished.Commit()
	if _, err := box.Publish(t.Context(), finished.Tx(), placed{}); err == nil || !strings.HasPrefix(err.Error(), "outbox: publish: ") {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	tx := db.Begin()
	if _, err := box.Publish(ended, tx.Tx(), placed{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestPublishAllIsAllOrNothing(t *testing.T) {
	db := outbox.NewFakeDB()
	box := shop(t, db)
	tx := db.Begin()
	ids, err := box.PublishAll(t.Context(), tx.Tx(), outbox.Of(placed{"1"}), outbox.Of(routeless{}), outbox.Of(placed{"2"}, outbox.Key("\xff")))
	if ids != nil || !errors.Is(err, outbox.ErrNoRoute) || !strings.Contains(err.Error(), "message number 2") || !strings.Contains(err.Error(), "message number 3") {
		t.Errorf("%v, %v", ids, err)
	}
	ids, err = box.PublishAll(t.Context(), tx.Tx(), outbox.Of(placed{"1"}), outbox.Of(placed{"2"}), outbox.Of(charge{}))
	if len(ids) != 3 || err != nil {
		t.Fatal(ids, err)
	}
	_ = tx.Commit()
	var got []string
	for _, r := range rows(db) {
		got = append(got, r.ID)
	}
	if want := []string{ids[0], ids[1], ids[2], ids[0], ids[1]}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if ids, err := box.PublishAll(t.Context(), db.Begin().Tx()); len(ids) != 0 || err != nil {
		t.Errorf("%v, %v", ids, err)
	}
}

// guarantees: O3
func TestPublishGivenIDsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := outbox.NewFakeDB()
		box := shop(t, db)
		publish := func(want error, m sixfold.Message, opts ...outbox.Option) string {
			t.Helper()
			tx := db.Begin()
			id, err := box.Publish(t.Context(), tx.Tx(), m, opts...)
			if !errors.Is(err, want) || (want == nil) != (err == nil) {
				t.Fatalf("%v, want %v", err, want)
			}
			if _, err := box.Publish(t.Context(), tx.Tx(), charge{Cents: 1}); err != nil { // the transaction is usable
				t.Fatal(err)
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			return id
		}
		given := strings.ToUpper(sixfold.NewID())
		id := publish(nil, placed{"o"}, outbox.ID(given))
		if id != strings.ToLower(given) {
			t.Errorf("id %s of %s", id, given)
		}
		publish(outbox.ErrDuplicateMessage, placed{"o"}, outbox.ID(given))
		publish(outbox.ErrDuplicateMessage, placed{"o"}, outbox.ID(strings.ToLower(given))) // one id in both cases
		publish(nil, charge{Cents: 1}, outbox.ID(given))                                    // another destination
		derived := sixfold.NewID()
		for range 2 { // nobody remembers it
			if id := publish(nil, placed{"o"}, outbox.DerivedID(derived)); id != derived {
				t.Errorf("id %s of %s", id, derived)
			}
		}
		tx := db.Begin()
		_, err := box.Publish(t.Context(), tx.Tx(), placed{"o"}, outbox.ID(given))
		var dup *outbox.DuplicateError
		if !errors.As(err, &dup) || !slices.Equal(dup.IDs, []string{id, id}) || !strings.Contains(err.Error(), id) {
			t.Errorf("%v", err)
		}
		publish(nil, charge{Cents: 1}, outbox.Unique("u", time.Minute))
		publish(outbox.ErrDuplicateMessage, charge{Cents: 1}, outbox.Unique("u", time.Minute))
		time.Sleep(61 * time.Second)
		publish(nil, charge{Cents: 1}, outbox.Unique("u", time.Nanosecond))
		time.Sleep(time.Millisecond)
		publish(nil, charge{Cents: 1}, outbox.Unique("u", 0)) // a nanosecond was not for ever
		time.Sleep(1e6 * time.Hour)
		publish(outbox.ErrDuplicateMessage, charge{Cents: 1}, outbox.Unique("u", time.Minute))
	})
}

func TestPublishEnvelope(t *testing.T) {
	db := outbox.NewFakeDB()
	box := shop(t, db)
	env := &sixfold.Envelope{ID: sixfold.NewID(), Source: "elsewhere", Type: "orders.placed", Key: "k", Body: []byte("\x00raw"), Headers: map[string]string{"a": "1"}}
	tx := db.Begin()
	if err := box.PublishEnvelope(t.Context(), tx.Tx(), env, outbox.Header("b", "2"), outbox.Expires(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if len(env.Headers) != 1 || !env.Expires.IsZero() {
		t.Errorf("the caller's envelope was changed: %v", env.Headers)
	}
	if err := box.PublishEnvelope(t.Context(), tx.Tx(), env); !errors.Is(err, outbox.ErrDuplicateMessage) {
		t.Error(err)
	}
	_ = tx.Commit()
	got := rows(db)
	var back sixfold.Envelope
	if len(got) != 2 || string(got[0].Body) != "\x00raw" {
		t.Fatalf("%+v", got)
	}
	if _, err := outbox.DecodeAttrs(got[0].Attrs, &back); err != nil || len(back.Headers) != 2 || back.Source != "elsewhere" || back.Expires.Before(time.Now()) {
		t.Errorf("%#v, %v", back, err)
	}
	for _, bad := range []*sixfold.Envelope{nil, {}, {ID: "x", Type: "orders.placed"}} {
		if err := box.PublishEnvelope(t.Context(), db.Begin().Tx(), bad); !errors.Is(err, sixfold.ErrInvalid) {
			t.Error(err)
		}
	}
}

// What is published inside a handler carries its message's correlation and causation on.
func TestPublishCarriesTheChain(t *testing.T) {
	db := outbox.NewFakeDB()
	box := shop(t, db)
	in := &sixfold.Envelope{ID: sixfold.NewID(), Type: "x", CorrelationID: "first"}
	ctx := sixfold.WithInfo(t.Context(), &sixfold.Info{Envelope: in})
	tx := db.Begin()
	if _, err := box.PublishAll(ctx, tx.Tx(), outbox.Of(charge{})); err != nil {
		t.Fatal(err)
	}
	if _, err := box.Publish(t.Context(), tx.Tx(), charge{}, outbox.ID(sixfold.NewID())); err != nil {
		t.Fatal(err)
	}
	_ = tx.Commit()
	for i, r := range rows(db) {
		env := sixfold.Envelope{ID: r.ID}
		_, _ = outbox.DecodeAttrs(r.Attrs, &env)
		if i == 0 && (env.CorrelationID != "first" || env.CausationID != in.ID) || i == 1 && env.CorrelationID != r.ID {
			t.Errorf("row %d: %q %q", i, env.CorrelationID, env.CausationID)
		}
	}
}

// What nearly every message says is not written; an envelope that says otherwise, or nothing, comes back as it was.
func TestUsualAttributesAreNotWritten(t *testing.T) {
	id := sixfold.NewID()
	for name, env := range map[string]sixfold.Envelope{
		"usual": {ContentType: "application/json", CorrelationID: id}, "none": {}, "others": {ContentType: "text/plain", CorrelationID: "c"},
	} {
		env.ID, env.Type = id, placed{}.MessageName()
		attrs := outbox.EncodeAttrs(&env, outbox.Flags{})
		if usual := !strings.Contains(string(attrs), "contenttype") && !strings.Contains(string(attrs), "correlationid"); usual != (name == "usual") {
			t.Errorf("%s: %s", name, attrs)
		}
		got := sixfold.Envelope{ID: id}
		if _, err := outbox.DecodeAttrs(attrs, &got); err != nil || got.ContentType != env.ContentType || got.CorrelationID != env.CorrelationID {
			t.Errorf("%s: %q %q, %v", name, got.ContentType, got.CorrelationID, err)
		}
	}
}

func TestNewRefusesEverythingAtOnce(t *testing.T) {
	_, err := outbox.New(nil, &outbox.Options{MaxBody: -1}, outbox.To("a b", placed{}), outbox.To("t"), outbox.To("t", nil, &placed{}), outbox.To("t", nameless{}), outbox.ToConsumer("", placed{}),
		outbox.ToConsumer("c", placed{}).Via("x"), outbox.To("u", placed{}, placed{}), outbox.To("v", placed{}).Via("a b"), outbox.ToConsumer(strings.Repeat("c", 96), placed{}))
	if err == nil {
		t.Fatal("no error")
	}
	for _, say := range []string{"the store is nil", "MaxBody -1", `topic "a b"`, "names no message", "message number 1 is a <nil>", "message number 2 is a *outbox_test.placed", `message name "not a name"`, `consumer ""`,
		"a local destination uses no transport", `"orders.placed" twice`, `name "a b"`, "96 bytes, the limit is 95"} {
		if !strings.Contains(err.Error(), say) {
			t.Errorf("the error does not say %q:\n%v", say, err)
		}
	}
	if _, err := outbox.New(outbox.NewFakeDB(), nil); err != nil {
		t.Error(err)
	}
}

func TestPrepare(t *testing.T) {
	db := outbox.NewFakeDB()
	box := shop(t, db)
	s, id, err := box.Prepare(t.Context(), charge{Cents: 7})
	if err != nil {
		t.Fatal(err)
	}
	tx := db.Begin()
	if err := tx.Tx().Do(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	rings, stop := db.Bell(outbox.ToBroker).Listen()
	defer stop()
	_ = tx.Commit()
	box.Committed()
	if got := rows(db); len(got) != 1 || got[0].ID != id || <-rings != outbox.Now {
		t.Errorf("%+v", got)
	}
	for _, m := range []sixfold.Message{placed{}, routeless{}} {
		if _, _, err := box.Prepare(t.Context(), m); err == nil {
			t.Errorf("%T was prepared", m)
		}
	}
	if _, _, err := box.Prepare(t.Context(), charge{}, outbox.Unique("u", 0)); err == nil {
		t.Error("a unique key was prepared")
	}
}
