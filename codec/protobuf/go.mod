module github.com/sixfold-go/sixfold/codec/protobuf

go 1.26.0

require (
	github.com/sixfold-go/sixfold v0.0.0
	google.golang.org/protobuf v1.36.11
)

replace (
	github.com/sixfold-go/sixfold => ../..
	github.com/sixfold-go/sixfold/benchmarks => ../../benchmarks
	github.com/sixfold-go/sixfold/cmd/sixfold => ../../cmd/sixfold
	github.com/sixfold-go/sixfold/examples/demo => ../../examples/demo
	github.com/sixfold-go/sixfold/examples/demo-nats => ../../examples/demo-nats
	github.com/sixfold-go/sixfold/itest => ../../itest
	github.com/sixfold-go/sixfold/itest/watermill => ../../itest/watermill
	github.com/sixfold-go/sixfold/postgres => ../../postgres
	github.com/sixfold-go/sixfold/transport/kafka => ../../transport/kafka
	github.com/sixfold-go/sixfold/transport/nats => ../../transport/nats
	github.com/sixfold-go/sixfold/transport/rabbitmq => ../../transport/rabbitmq
	github.com/sixfold-go/sixfold/transport/sqs => ../../transport/sqs
	github.com/sixfold-go/sixfold/vet => ../../vet
)
