module github.com/sixfold-go/sixfold/transport/nats

go 1.26.0

require (
	github.com/nats-io/nats.go v1.55.0
	github.com/sixfold-go/sixfold v0.0.0
)

require (
	github.com/klauspost/compress v1.20.0 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	golang.org/x/crypto v0.57.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
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
	github.com/sixfold-go/sixfold/transport/rabbitmq => ../rabbitmq
	github.com/sixfold-go/sixfold/transport/sqs => ../sqs
	github.com/sixfold-go/sixfold/vet => ../../vet
)
