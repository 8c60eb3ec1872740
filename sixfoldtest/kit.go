package sixfoldtest

import (
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store/memory"
)

// A Kit is a database and a broker in the process, for one test. Nothing of it needs closing.
type Kit struct {
	// Store is the database itself.
	Store *memory.Store
	// DB opens transactions of it, which are a *memory.Tx.
	DB sqltx.DB[*memory.Tx]
	// Outbox is the store's outbox, and remembers what was published. Give it to all who need an outbox.Store.
	Outbox *Recorder
	// Inbox is the store's inbox, and knows what its consumers could not handle.
	Inbox *Inbox
	// Broker is a transport that remembers what it took.
	Broker *Broker
}

// New makes a Kit whose broker has these topics. As on a broker, messages to other topics have no place until a consumer
// subscribes to them.
func New(topics ...string) *Kit { return kit(memory.New(nil), topics...) }

func kit(st *memory.Store, topics ...string) *Kit {
	return &Kit{Store: st, DB: st.DB(), Outbox: Record(st.Outbox()), Inbox: &Inbox{st.Inbox()}, Broker: NewBroker(topics...)}
}

// Start is App.Start of the kit's database and broker with the program's consumers and relays.
func (k *Kit) Start(t testing.TB, runs ...sixfold.Runnable) *App {
	t.Helper()
	app := &App{Outboxes: []*Recorder{k.Outbox}, Inboxes: []*Inbox{k.Inbox}, Brokers: []*Broker{k.Broker}, Runs: runs}
	app.Start(t)
	return app
}
