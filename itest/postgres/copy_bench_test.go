package postgres

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// BenchmarkPublishAll compares INSERT and COPY of many messages of 250 bytes in one transaction.
func BenchmarkPublishAll(b *testing.B) {
	pool := open(b, servers.Postgres(b).Database(b))
	st, err := store.Postgres(postgres.DB(pool), nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := st.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	box, err := outbox.New(st.Outbox(), nil, outbox.To("messages", message{}))
	if err != nil {
		b.Fatal(err)
	}
	ways := map[string]func(tx pgx.Tx, items []outbox.Item) error{
		"insert": func(tx pgx.Tx, items []outbox.Item) error {
			_, err := box.PublishAll(b.Context(), sqltx.Pgx(tx), items...)
			return err
		},
		"copy": func(tx pgx.Tx, items []outbox.Item) error {
			_, err := postgres.PublishAll(b.Context(), box, tx, slices.Values(items))
			return err
		},
	}
	for _, n := range []struct {
		name string
		rows int
	}{{"10", 10}, {"100", 100}, {"1000", 1000}, {"100000", 100_000}} {
		items := make([]outbox.Item, n.rows)
		for i := range items {
			items[i] = outbox.Of(message{Key: "customer-" + strings.Repeat("7", i%5), Text: strings.Repeat("x", 220)})
		}
		for _, how := range []string{"insert", "copy"} {
			b.Run(how+"/"+n.name, func(b *testing.B) {
				if _, err := pool.Exec(b.Context(), "TRUNCATE sixfold.outbox"); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if err := pgx.BeginFunc(b.Context(), pool, func(tx pgx.Tx) error { return ways[how](tx, items) }); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n.rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}
