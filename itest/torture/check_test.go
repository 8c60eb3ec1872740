package main

import (
	"maps"
	"slices"
	"testing"
)

// id makes a message's or a transaction's id.
func id(n byte) msgID { return msgID{15: n} }

// right are the facts of a run in which nothing went wrong: three committed transactions on two keys, one of them of
// unknown outcome, one that was rolled back and one that was refused as a repeat, with every effect of three consumers.
func right() *Facts {
	f := &Facts{
		Keys:      map[string]int64{"a": 3, "b": 2, "never": 0},
		Committed: map[msgID]bool{id(101): true, id(102): true, id(103): true},
		Txs: []Tx{
			{ID: id(101), Said: OK, Messages: []Message{{ID: id(1), Key: "a", N: 1}, {ID: id(2), Key: "b", N: 1}}},
			{ID: id(102), Said: Unknown, Messages: []Message{{ID: id(3), Key: "a", N: 2}}},
			{ID: id(103), Said: OK, Messages: []Message{{ID: id(4), Key: "a", N: 3}, {ID: id(5), Key: "b", N: 2}, {ID: id(8), Key: "b", N: 2, Undone: true}}},
			{ID: id(104), Said: RolledBack, Messages: []Message{{ID: id(6), Key: "a", N: 3}}},
			{ID: id(105), Said: Begun, Messages: []Message{{ID: id(7), Key: "b", N: 2}}},
			{ID: id(106), Said: Duplicate, Messages: []Message{{ID: id(3), Key: "a", N: 3}, {ID: id(9), Key: "a", N: 3, Undone: true}}},
		},
		Poison:    []Effect{{Consumer: "billing", Key: "b", N: 1}, {Consumer: "notes", Key: "b", N: 2}},
		Dead:      []Effect{{"billing", "b", 1, id(2)}},
		Repaired:  true,
		Consumers: []Expect{{Name: "billing"}, {Name: "shipping"}, {Name: "notes", After: "billing", Every: 2}},
	}
	for _, e := range []Effect{{"", "a", 1, id(1)}, {"", "b", 1, id(2)}, {"", "a", 2, id(3)}, {"", "a", 3, id(4)}, {"", "b", 2, id(5)}} {
		for _, c := range []string{"billing", "shipping"} {
			e.Consumer = c
			f.Effects = append(f.Effects, e)
		}
	}
	f.Effects = append(f.Effects, Effect{"notes", "a", 2, id(50)}, Effect{"notes", "b", 2, id(51)})
	return f
}

// find answers where an effect stands.
func (f *Facts) find(consumer string, m msgID) int {
	return slices.IndexFunc(f.Effects, func(e Effect) bool { return e.Consumer == consumer && e.Msg == m })
}

// Each violation that the checker knows is found, and nothing else is.
func TestCheck(t *testing.T) {
	cases := []struct {
		name  string
		wrong func(f *Facts)
		want  map[Kind]int
	}{
		{"right", func(*Facts) {}, nil},
		{"lost", func(f *Facts) {
			f.Effects = slices.Delete(f.Effects, f.find("billing", id(4)), f.find("billing", id(4))+1)
		}, map[Kind]int{Lost: 1}},
		{"lost by a consumer that does nothing", func(f *Facts) {
			f.Effects = slices.DeleteFunc(f.Effects, func(e Effect) bool { return e.Consumer == "shipping" })
		}, map[Kind]int{Lost: 5}},
		{"lost of unknown outcome", func(f *Facts) {
			f.Effects = slices.Delete(f.Effects, f.find("shipping", id(3)), f.find("shipping", id(3))+1)
		}, map[Kind]int{Lost: 1}},
		{"lost follower", func(f *Facts) {
			f.Effects = slices.Delete(f.Effects, f.find("notes", id(51)), f.find("notes", id(51))+1)
		}, map[Kind]int{Lost: 1}},
		{"twice", func(f *Facts) { f.Effects = append(f.Effects, Effect{"billing", "a", 1, id(1)}) }, map[Kind]int{Duplicates: 1}},
		{"follower twice by another message", func(f *Facts) { f.Effects = append(f.Effects, Effect{"notes", "a", 2, id(52)}) }, map[Kind]int{Duplicates: 1}},
		{"follower twice by one message", func(f *Facts) { f.Effects = append(f.Effects, Effect{"notes", "a", 2, id(50)}) }, map[Kind]int{Duplicates: 1}},
		{"phantom of a rollback", func(f *Facts) { f.Effects = append(f.Effects, Effect{"billing", "a", 3, id(6)}) }, map[Kind]int{Phantoms: 1}},
		{"phantom of a publisher that died", func(f *Facts) { f.Effects = append(f.Effects, Effect{"shipping", "b", 2, id(7)}) }, map[Kind]int{Phantoms: 1}},
		{"phantom of a savepoint", func(f *Facts) { f.Effects = append(f.Effects, Effect{"shipping", "b", 2, id(8)}) }, map[Kind]int{Phantoms: 1}},
		{"phantom beyond the counter", func(f *Facts) { f.Effects = append(f.Effects, Effect{"shipping", "b", 3, id(9)}) }, map[Kind]int{Phantoms: 1}},
		{"phantom with another's id", func(f *Facts) { f.Effects = append(f.Effects, Effect{"shipping", "b", 2, id(4)}) }, map[Kind]int{Phantoms: 1}},
		{"phantom follower of what is not followed", func(f *Facts) { f.Effects = append(f.Effects, Effect{"notes", "a", 3, id(60)}) }, map[Kind]int{Phantoms: 1}},
		{"effects behind a dead letter", func(f *Facts) { f.Repaired = false }, map[Kind]int{OrderBreaks: 3}}, // billing's two, and the one that follows
		{"none behind a dead letter", func(f *Facts) {
			f.Repaired = false
			f.Effects = slices.DeleteFunc(f.Effects, func(e Effect) bool { return e.Key == "b" && e.Consumer != "shipping" })
		}, nil},
		{"missing in a run that did not end", func(f *Facts) { f.Unended, f.Effects, f.Dead = true, nil, nil }, nil},
		{"redriven without an entry in the audit", func(f *Facts) { f.NotAudited = 1 }, map[Kind]int{NotAudited: 1}},
		{"poison of nobody's message", func(f *Facts) { f.Dead = append(f.Dead, Effect{"notes", "b", 2, id(51)}) }, map[Kind]int{DeadLetters: 1}},
		{"phantom of a stranger", func(f *Facts) { f.Effects = append(f.Effects, Effect{"nobody", "a", 1, id(1)}) }, map[Kind]int{Phantoms: 1}},
		{"order", func(f *Facts) {
			i, j := f.find("shipping", id(3)), f.find("shipping", id(4))
			f.Effects[i], f.Effects[j] = f.Effects[j], f.Effects[i]
		}, map[Kind]int{OrderBreaks: 1}},
		{"said ok, was rolled back", func(f *Facts) { f.Txs[3].Said = OK }, map[Kind]int{WrongAnswer: 1}},
		{"said rolled back, was committed", func(f *Facts) { f.Txs[0].Said = RolledBack }, map[Kind]int{WrongAnswer: 1}},
		{"refused as a repeat of nothing", func(f *Facts) { f.Txs[5].Messages[0].ID = id(99) }, map[Kind]int{WrongAnswer: 1}},
		{"refused as a repeat, was committed", func(f *Facts) {
			f.Committed[id(106)] = true
			f.Txs[5].Messages = nil
		}, map[Kind]int{WrongAnswer: 1}},
		{"one id committed twice", func(f *Facts) {
			f.Committed[id(107)] = true
			f.Keys["c"] = 1
			f.Txs = append(f.Txs, Tx{ID: id(107), Said: OK, Messages: []Message{{ID: id(3), Key: "a", N: 2}}})
			delete(f.Keys, "c")
		}, map[Kind]int{Twice: 1}},
		{"dead without a cause", func(f *Facts) { f.Dead = append(f.Dead, Effect{"shipping", "a", 1, id(1)}) }, map[Kind]int{DeadLetters: 1}},
		{"dead twice", func(f *Facts) { f.Dead = append(f.Dead, f.Dead[0]) }, map[Kind]int{DeadLetters: 1}},
		{"poison never dead", func(f *Facts) { f.Dead = nil }, map[Kind]int{DeadLetters: 1}},
		{"ledger with a gap", func(f *Facts) { f.Keys["never"] = 1 }, map[Kind]int{BadLedger: 1, Lost: 2}},
		{"ledger with one row twice", func(f *Facts) { f.CommittedTwice = true }, map[Kind]int{BadLedger: 1}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f, v := right(), Violations{}
			c.wrong(f)
			resolved := Check(f, &v)
			if !maps.Equal(v.Count, c.want) {
				t.Errorf("found %v, want %v; examples: %v", v.Count, c.want, v.Examples)
			}
			if want := (Resolved{Committed: 1, RolledBack: 1}); resolved != want {
				t.Errorf("resolved %+v, want %+v", resolved, want)
			}
		})
	}
}

// What a process that was stopped in order has done is done again by nobody; what one did that was killed, frozen or
// fenced may be. guarantees: R2, R5
func TestAgain(t *testing.T) {
	clean := func(slot string) *incarnation {
		return &incarnation{slot: slot, stopping: true, state: ended(t, "exit 0")}
	}
	killed := &incarnation{slot: "killed", state: ended(t, "exit 1")}
	fenced, frozen := clean("fenced"), clean("frozen")
	fenced.fenced, frozen.frozen = true, true
	stopped, next := clean("stopped"), clean("next")
	cases := []struct {
		name          string
		first, second *incarnation
		want          bool
	}{
		{"after a planned stop", stopped, next, true},
		{"by itself", stopped, stopped, false},
		{"after a kill", killed, next, false},
		{"after a fence", fenced, next, false},
		{"by one that was fenced", stopped, fenced, false},
		{"by one that was frozen", stopped, frozen, false},
	}
	for _, c := range cases {
		a, b := arrival{1, c.first}, arrival{2, c.second}
		for _, pair := range [][2]arrival{{a, b}, {b, a}} {
			if got, later := pair[0].again(pair[1]); got != c.want || later != b {
				t.Errorf("%s: %v, the later is %s", c.name, got, later.by.slot)
			}
		}
	}
}
