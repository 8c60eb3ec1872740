package claimcheck_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/claimcheck"
	"github.com/sixfold-go/sixfold/transport/memory"
)

type ReportReady struct {
	Text string `json:"text"`
}

func (ReportReady) MessageName() string { return "reports.ready" }

// A broker that takes 1,000 bytes carries a report of 5,000.
func Example() {
	dir, err := os.MkdirTemp("", "blobs")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := readReports(dir); err != nil {
		fmt.Println(err)
	}
	// Output: a report of 5000 bytes
}

func readReports(dir string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	small := memory.New(&memory.Options{Topics: []string{"reports"}, MaxBody: 1000})
	blobs, err := claimcheck.NewDir(dir)
	if err != nil {
		return err
	}
	defer blobs.Close()
	broker, err := claimcheck.Wrap(small, blobs, nil)
	if err != nil {
		return err
	}
	defer broker.Close(ctx)

	reader, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"reports"}, Group: "reader"}, nil,
		sixfold.On(func(ctx context.Context, m ReportReady) error {
			fmt.Println("a report of", len(m.Text), "bytes")
			cancel()
			return nil
		}))
	if err != nil {
		return err
	}
	writer, err := bus.NewPublisher(broker, nil)
	if err != nil {
		return err
	}
	if _, err := writer.Publish(ctx, "reports", ReportReady{Text: strings.Repeat("x", 5000)}); err != nil {
		return err
	}
	keeper, err := claimcheck.NewKeeper(blobs, nil) // removes what is older than 30 days
	if err != nil {
		return err
	}
	return sixfold.Run(ctx, keeper, reader)
}
