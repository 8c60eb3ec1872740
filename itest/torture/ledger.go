package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Facts are everything that the checker judges by.
type Facts struct {
	Keys           map[string]int64 // the highest number of each key that was committed
	Committed      map[msgID]bool   // transactions
	CommittedTwice bool             // one transaction's row is there twice, which is a fault of the ledger itself
	Txs            []Tx             // as the publishers saw them
	Effects        []Effect         // in the order of their insertion
	Dead           []Effect         // dead letters, in the same way
	Poison         []Effect         // messages that cannot be handled by that consumer until it is repaired; without Msg
	Repaired       bool             // the handlers were, and all dead letters were sent again
	Unended        bool             // the run was not over, so that nothing can be missing
	Parked         int              // messages, in all
	NotAudited     int              // dead letters of which the audit does not say, once, that they were sent again
	Consumers      []Expect
}

// Effect is one thing that a handler did.
type Effect struct {
	Consumer string
	Key      string
	N        int64
	Msg      msgID
}

// Expect is a consumer and what it must have done: all messages, or those that follow the effects of another one.
type Expect struct {
	Name string
	// After names the consumer whose effects are followed; empty: the published messages themselves.
	After string
	// Every says which are followed: those whose number it divides. 0 and 1: all.
	Every int64
}

// inDatabase reports whether its messages need no broker.
func (e Expect) inDatabase() bool { return e.Name == "audit" || e.Name == "marks" }

func (e Expect) wants(n int64) bool { return e.Every < 2 || n%e.Every == 0 }

// Said is what a publisher knows about a transaction.
type Said string

// What may be said.
const (
	Begun      Said = "begun" // written before COMMIT; with nothing after it the publisher died
	OK         Said = "ok"
	RolledBack Said = "rolled back"
	Unknown    Said = "unknown"
	Duplicate  Said = "duplicate" // rolled back, since its messages were there before
)

// Tx is a transaction as its publisher saw it.
type Tx struct {
	ID       msgID     `json:"tx"`
	Said     Said      `json:"said"`
	How      string    `json:"how,omitempty"`
	Cut      bool      `json:"cut,omitempty"` // its connection was cut when COMMIT was sent
	Held     bool      `json:"held,omitempty"`
	Messages []Message `json:"messages,omitempty"`
	Err      string    `json:"err,omitempty"`
}

// Message is one that a transaction published.
type Message struct {
	ID     msgID  `json:"id"`
	Key    string `json:"key"`
	N      int64  `json:"n"`
	Undone bool   `json:"undone,omitempty"` // by a rollback to a savepoint
}

// A journal is an append-only file of JSON lines. Each line is one write, so that it outlives a kill of its process; it
// need not outlive the machine.
type journal struct{ f *os.File }

func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("torture: open a journal: %w", err)
	}
	return &journal{f}, nil
}

// add writes a line. Safe for concurrent use, as write(2) with O_APPEND is.
func (j *journal) add(v any) {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = j.f.Write(append(b, '\n'))
	}
	if err != nil { // the proof would be worth nothing without it
		fmt.Fprintln(os.Stderr, "torture: write a journal:", err)
		os.Exit(1)
	}
}

// readJournal calls fn for each line. A last line without its end is one that a kill has cut, and is left out.
func readJournal[T any](path string, fn func(T)) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("torture: read a journal: %w", err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		var v T
		if err == nil {
			err = json.Unmarshal(line, &v)
		}
		if err != nil {
			return fmt.Errorf("torture: read journal %s: %w", path, err)
		}
		fn(v)
	}
}

// readTxs reads the publishers' journals: of each transaction its messages and what was said about it last.
func readTxs(paths []string) ([]Tx, error) {
	var all []Tx
	at := map[msgID]int{}
	for _, path := range paths {
		err := readJournal(path, func(t Tx) {
			i, known := at[t.ID]
			if !known {
				at[t.ID] = len(all)
				all = append(all, t)
				return
			}
			begun := all[i]
			t.Messages, t.How, t.Held = begun.Messages, begun.How, begun.Held
			all[i] = t
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}
