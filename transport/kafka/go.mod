module github.com/sixfold-go/sixfold/transport/kafka

go 1.26.0

require (
	github.com/sixfold-go/sixfold v0.0.0
	github.com/twmb/franz-go v1.22.2
	github.com/twmb/franz-go/pkg/kadm v1.19.0
	github.com/twmb/franz-go/pkg/kmsg v1.15.0
)

require (
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
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
	github.com/sixfold-go/sixfold/transport/nats => ../nats
	github.com/sixfold-go/sixfold/transport/rabbitmq => ../rabbitmq
	github.com/sixfold-go/sixfold/transport/sqs => ../sqs
	github.com/sixfold-go/sixfold/vet => ../../vet
)
