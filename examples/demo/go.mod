module github.com/sixfold-go/sixfold/examples/demo

go 1.26.0

require (
	github.com/sixfold-go/sixfold v0.0.0
	modernc.org/sqlite v1.60.1
)

require (
	github.com/dustin/go-humanize v1.0.1 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/ncruces/go-strftime v1.0.0 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	golang.org/x/sys v0.48.0 // indirect
	modernc.org/libc v1.77.1 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
)

replace (
	github.com/sixfold-go/sixfold => ../..
	github.com/sixfold-go/sixfold/benchmarks => ../../benchmarks
	github.com/sixfold-go/sixfold/cmd/sixfold => ../../cmd/sixfold
	github.com/sixfold-go/sixfold/codec/protobuf => ../../codec/protobuf
	github.com/sixfold-go/sixfold/examples/demo-nats => ../demo-nats
	github.com/sixfold-go/sixfold/itest => ../../itest
	github.com/sixfold-go/sixfold/itest/watermill => ../../itest/watermill
	github.com/sixfold-go/sixfold/postgres => ../../postgres
	github.com/sixfold-go/sixfold/transport/kafka => ../../transport/kafka
	github.com/sixfold-go/sixfold/transport/nats => ../../transport/nats
	github.com/sixfold-go/sixfold/transport/rabbitmq => ../../transport/rabbitmq
	github.com/sixfold-go/sixfold/transport/sqs => ../../transport/sqs
	github.com/sixfold-go/sixfold/vet => ../../vet
)
