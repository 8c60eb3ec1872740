package archtest

// An edge allows packages to import packages. Names are paths below the repository's root; "." is the root package itself,
// a name that ends in "/..." means a package and all below it, and "..." alone means everything.
type edge struct {
	from string
	to   []string
	why  string
}

// edges is the whole list of what may import what, top first: imports point only toward the top. What is not here is
// refused, and so is a package without a row. Tests (_test.go) may import what they like.
//
// Two rules stand behind the rows: a transport never sees a store, and a store never sees a broker.
var edges = []edge{
	{".", []string{"internal/..."}, "the vocabulary that all others share: it knows none of them"},
	{"internal/...", []string{"internal/..."}, "helpers of any package, so they may pull in none"},
	{"sqltx", []string{".", "internal/..."}, "a transaction seen through two methods, usable alone"},
	{"mediator", []string{".", "internal/..."}, "calls in the process: it knows messages and middleware, and nothing that carries a message away"},
	{"cloudevents", []string{".", "internal/..."}, "an envelope's form on the wire: it knows the envelope and nothing that carries it"},
	{"bus", []string{".", "sqltx", "internal/..."}, "the driver's contract and the consumer; with sqltx for what a consumer parks in a database, but no store"},
	{"claimcheck", []string{".", "sqltx", "bus", "internal/..."}, "wraps any transport; it declares the blob store that it needs; with sqltx for the claims of a source it wraps"},
	{"signature", []string{".", "internal/..."}, "signs envelopes and verifies them: it knows the envelope and nothing that carries it"},
	{"middleware", []string{".", "sqltx", "bus", "internal/..."}, "for mediators and consumers alike; with bus for what an outage is, and sqltx for transactions"},
	{"request", []string{".", "sqltx", "cloudevents", "mediator", "bus", "middleware", "signature", "internal/..."}, "calls over a lane, which drivers implement; with signature for who asks and who answers, with mediator for its handlers, middleware for what a refusal means, bus for what an outage is, and sqltx for the transaction of an answer that is kept"},
	{"request/requesttest", []string{".", "cloudevents", "bus", "middleware", "signature", "request", "internal/..."}, "the conformance suite of lanes"},
	{"request/wire", []string{"internal/..."}, "what lanes over connections share: it knows no packet and no driver"},
	{"outbox", []string{".", "sqltx", "bus", "internal/..."}, "publishes in a transaction and relays to the contract of bus; it declares the store it needs"},
	{"inbox", []string{".", "sqltx", "bus", "outbox", "internal/..."}, "wraps handlers of a consumer in a transaction; it declares the store it needs, and writes the attributes of a parked message as the outbox does"},
	{"saga", []string{".", "sqltx", "bus", "outbox", "inbox", "internal/..."}, "steps are handlers of the inbox that publish through the outbox; it declares the store it needs, and cancels timers through that"},
	{"deadletter", []string{".", "internal/..."}, "what people do with parked messages; it declares the store it needs, and knows no consumer"},
	{"explain", []string{".", "deadletter", "internal/..."}, "says where a message is; it declares the store it needs, and asks nothing else"},
	{"saga/flow", []string{".", "outbox", "saga", "internal/..."}, "the short way to write a saga: it stands on the event form"},
	{"request/durable", []string{".", "sqltx", "outbox", "inbox", "saga", "saga/flow", "schedule", "request", "internal/..."}, "requests that outlive processes: messages of outbox and inbox, with deadlines of the scheduler and the faults of request; with saga and flow for the steps that ask"},
	{"store/...", []string{".", "sqltx", "bus", "outbox", "inbox", "saga", "deadletter", "explain", "schedule", "store/...", "internal/..."}, "all SQL: satisfies the interfaces that outbox, inbox, saga, schedule, deadletter, explain and bus declare, and knows no transport"},
	{"bus/driver", []string{"bus"}, "parts that drivers share: it knows the contract and no driver"},
	{"bus/bustest/...", []string{".", "bus", "bus/bustest/...", "transport/memory", "internal/..."}, "the drivers' conformance suite; its broken drivers are built on the in-process one"},
	{"transport/memory", []string{".", "cloudevents", "bus", "sqltx", "request", "internal/..."}, "a driver: it satisfies bus and knows no store"},
	{"transport/sqlqueue", []string{".", "cloudevents", "bus", "outbox", "request", "request/wire", "internal/..."}, "a driver whose broker is a database: it declares the store it needs, knows none, and reads as a local consumer of the outbox does"},

	{"schedule", []string{".", "sqltx", "outbox", "deadletter", "internal/..."}, "when things are due; it declares the store it needs, writes messages through the outbox, and has dead ones sent again"},
	{"sixfoldtest", []string{".", "sqltx", "bus", "outbox", "inbox", "saga", "schedule", "store/memory", "transport/memory", "internal/..."}, "for users' tests: the store and the broker of the process, wired; nothing imports it but tests"},

	// Modules of their own.
	{"transport/nats/...", []string{".", "cloudevents", "bus", "bus/driver", "sqltx", "request", "request/wire", "transport/nats/...", "internal/..."}, "a driver: it satisfies bus and knows no store"},
	{"transport/kafka/...", []string{".", "cloudevents", "bus", "bus/driver", "sqltx", "request", "request/wire", "transport/kafka/...", "internal/..."}, "a driver: it satisfies bus and knows no store"},
	{"transport/rabbitmq/...", []string{".", "cloudevents", "bus", "bus/driver", "sqltx", "request", "request/wire", "transport/rabbitmq/...", "internal/..."}, "a driver: it satisfies bus and knows no store"},
	{"transport/sqs/...", []string{".", "cloudevents", "bus", "bus/driver", "sqltx", "transport/sqs/...", "internal/..."}, "a driver: it satisfies bus and knows no store"},
	{"codec/protobuf/...", []string{".", "codec/protobuf/...", "internal/..."}, "a codec: it knows bytes and values, and nothing that carries them"},
	{"postgres/...", []string{".", "sqltx", "bus", "outbox", "inbox", "store/...", "postgres/...", "internal/..."}, "what only pgx can do for outbox and store; no broker is involved"},
	{"cmd/sixfold/...", []string{".", "sqltx", "cloudevents", "bus", "outbox", "inbox", "deadletter", "explain", "schedule", "saga", "store/...", "postgres", "transport/...", "examples/demo/...", "cmd/sixfold/..."}, "the command line: it links every driver, and no server"},
	{"vet/...", []string{"vet/..."}, "checks of go/analysis: it knows the other packages by their paths alone"},
	{"itest/...", []string{"..."}, "tests on real servers: never imported by what users build"},
	{"benchmarks/...", []string{"..."}, "a program: nobody imports it"},
	{"examples/demo/...", []string{".", "sqltx", "cloudevents", "bus", "outbox", "inbox", "store/...", "transport/memory", "examples/demo/..."}, "the demo on the root module and SQLite only, since every driver linked costs a newcomer minutes of compiling"},
	{"examples/demo-nats/...", []string{".", "sqltx", "cloudevents", "bus", "outbox", "inbox", "store/...", "transport/memory", "transport/nats", "examples/demo/...", "examples/demo-nats/..."}, "the same demo over NATS"},
}

// A party says which third-party packages the packages of one module may import themselves, by prefix of the path. What
// those import in turn is their business, but in the root module, where nothing at all is allowed.
type party struct {
	module string
	allow  []string
	why    string
}

// parties has a row for each module that users build. A module without one may import anything.
var parties = []party{
	{".", nil, "go get of the root adds nothing to anyone's build"},
	{"transport/nats", []string{"github.com/nats-io/"}, "split off for the client of NATS, and nothing else"},
	{"transport/kafka", []string{"github.com/twmb/franz-go"}, "split off for the client of Kafka, and nothing else"},
	{"transport/rabbitmq", []string{"github.com/rabbitmq/"}, "split off for the client of RabbitMQ, and nothing else"},
	{"transport/sqs", []string{"github.com/aws/"}, "split off for the clients of AWS, and nothing else"},
	{"codec/protobuf", []string{"google.golang.org/protobuf/"}, "split off for Protocol Buffers, and nothing else"},
	{"postgres", []string{"github.com/jackc/"}, "split off for pgx, and nothing else"},
	{"vet", []string{"golang.org/x/tools/go/"}, "split off for go/analysis, and nothing else"},
	{"cmd/sixfold", []string{"github.com/spf13/cobra", "github.com/BurntSushi/toml", "github.com/jackc/", "github.com/nats-io/nats.go", "github.com/rabbitmq/", "github.com/twmb/franz-go", "github.com/aws/", "github.com/go-sql-driver/mysql", "modernc.org/sqlite", "golang.org/x/sys/unix"}, "drivers, a parser of commands, and the width of a terminal; a server stays outside"},
	{"examples/demo", []string{"modernc.org/sqlite"}, "from a fresh clone to a report in a minute and a half"},
}
