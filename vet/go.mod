module github.com/sixfold-go/sixfold/vet

go 1.26.0

require golang.org/x/tools v0.51.0

require golang.org/x/sync v0.23.0 // indirect

replace (
	github.com/sixfold-go/sixfold => ..
	github.com/sixfold-go/sixfold/benchmarks => ../benchmarks
	github.com/sixfold-go/sixfold/cmd/sixfold => ../cmd/sixfold
	github.com/sixfold-go/sixfold/codec/protobuf => ../codec/protobuf
	github.com/sixfold-go/sixfold/examples/demo => ../examples/demo
	github.com/sixfold-go/sixfold/examples/demo-nats => ../examples/demo-nats
	github.com/sixfold-go/sixfold/itest => ../itest
	github.com/sixfold-go/sixfold/itest/watermill => ../itest/watermill
	github.com/sixfold-go/sixfold/postgres => ../postgres
	github.com/sixfold-go/sixfold/transport/kafka => ../transport/kafka
	github.com/sixfold-go/sixfold/transport/nats => ../transport/nats
	github.com/sixfold-go/sixfold/transport/rabbitmq => ../transport/rabbitmq
	github.com/sixfold-go/sixfold/transport/sqs => ../transport/sqs
)
