module github.com/sixfold-go/sixfold/transport/rabbitmq

go 1.26.0

require (
	github.com/rabbitmq/amqp091-go v1.16.0
	github.com/sixfold-go/sixfold v0.0.0
)

replace (
	github.com/sixfold-go/sixfold => ../..
	github.com/sixfold-go/sixfold/benchmarks => ../../benchmarks
	github.com/sixfold-go/sixfold/cmd/sixfold => ../../cmd/sixfold
	github.com/sixfold-go/sixfold/codec/protobuf => ../../codec/protobuf
	github.com/sixfold-go/sixfold/examples/demo => ../../examples/demo
	github.com/sixfold-go/sixfold/examples/demo-nats => ../../examples/demo-nats
	github.com/sixfold-go/sixfold/itest => ../../itest
	github.com/sixfold-go/sixfold/itest/watermill => ../../itest/watermill
	github.com/sixfold-go/sixfold/postgres => ../../postgres
	github.com/sixfold-go/sixfold/transport/kafka => ../kafka
	github.com/sixfold-go/sixfold/transport/nats => ../nats
	github.com/sixfold-go/sixfold/transport/sqs => ../sqs
	github.com/sixfold-go/sixfold/vet => ../../vet
)
