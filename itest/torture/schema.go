package main

import (
	"context"
	"errors"
	"fmt"
)

// hotKey is the key that many messages share.
const hotKey = "hot"

func keyName(i int) string { return fmt.Sprintf("k%04d", i) }

// readLedger reads the part of the facts that the database holds.
func readLedger(ctx context.Context, d database, db pool) (*Facts, error) {
	f := &Facts{Keys: map[string]int64{}, Committed: map[msgID]bool{}}
	intern := map[string]string{}
	one := func(s string) string {
		if known, ok := intern[s]; ok {
			return known
		}
		intern[s] = s
		return s
	}
	var key, consumer, text string
	var n int64
	var wrong error
	id := func() msgID {
		id, err := parseMsgID(text)
		wrong = errors.Join(wrong, err)
		return id
	}
	err := errors.Join(
		db.each(ctx, "SELECT key, n FROM ledger_key", []any{&key, &n}, func() { f.Keys[one(key)] = n }),
		db.each(ctx, "SELECT CAST(tx AS char(36)) FROM ledger_tx", []any{&text}, func() {
			tx := id()
			f.CommittedTwice = f.CommittedTwice || f.Committed[tx]
			f.Committed[tx] = true
		}),
		db.each(ctx, "SELECT consumer, key, n FROM ledger_poison", []any{&consumer, &key, &n}, func() {
			f.Poison = append(f.Poison, Effect{Consumer: one(consumer), Key: one(key), N: n})
		}),
		db.each(ctx, "SELECT consumer, key, n, CAST(msg AS char(36)) FROM effect ORDER BY id", []any{&consumer, &key, &n, &text}, func() {
			f.Effects = append(f.Effects, Effect{one(consumer), one(key), n, id()})
		}),
		db.each(ctx, "SELECT consumer, key, n, CAST(msg AS char(36)) FROM dead ORDER BY id", []any{&consumer, &key, &n, &text}, func() {
			f.Dead = append(f.Dead, Effect{one(consumer), one(key), n, id()})
		}))
	err = errors.Join(err, wrong, db.row(ctx, "SELECT "+d.lastParked()+`,
  (SELECT count(*) FROM dead d WHERE 1 <> (SELECT count(*) FROM sixfold.audit a WHERE a.run = $1 AND a.action = 'redrive' AND a.n = d.parked))
  + (SELECT count(*) FROM sixfold.audit a WHERE a.run = $1 AND a.n > 0 AND NOT EXISTS (SELECT 1 FROM dead d WHERE d.parked = a.n))`, []any{redriveRun}, &f.Parked, &f.NotAudited))
	if err != nil {
		return nil, fmt.Errorf("torture: read the ledger: %w", err)
	}
	return f, nil
}
