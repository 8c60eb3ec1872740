module github.com/sixfold-go/sixfold/postgres

go 1.26

require (
	github.com/jackc/pgx/v5 v5.12.0
	github.com/sixfold-go/sixfold v0.0.0
)

require (
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	golang.org/x/sync v0.22.0 // indirect
	golang.org/x/text v0.41.0 // indirect
)

replace (
	github.com/sixfold-go/sixfold => ..
	github.com/sixfold-go/sixfold/benchmarks => ../benchmarks
	github.com/sixfold-go/sixfold/cmd/sixfold => ../cmd/sixfold
	github.com/sixfold-go/sixfold/codec/protobuf => ../codec/protobuf
	github.com/sixfold-go/sixfold/examples/demo => ../examples/demo
	github.com/sixfold-go/sixfold/examples/demo-nats => ../examples/demo-nats
	github.com/sixfold-go/sixfold/itest => ../itest
	github.com/sixfold-go/sixfold/itest/watermill => ../itest/watermill
	github.com/sixfold-go/sixfold/transport/kafka => ../transport/kafka
	github.com/sixfold-go/sixfold/transport/nats => ../transport/nats
	github.com/sixfold-go/sixfold/transport/rabbitmq => ../transport/rabbitmq
	github.com/sixfold-go/sixfold/transport/sqs => ../transport/sqs
	github.com/sixfold-go/sixfold/vet => ../vet
)
