module github.com/sixfold-go/sixfold/examples/demo

go 1.26

require github.com/sixfold-go/sixfold v0.0.0

replace (
	github.com/sixfold-go/sixfold => ../..
	github.com/sixfold-go/sixfold/benchmarks => ../../benchmarks
	github.com/sixfold-go/sixfold/examples/demo-nats => ../demo-nats
	github.com/sixfold-go/sixfold/itest => ../../itest
	github.com/sixfold-go/sixfold/postgres => ../../postgres
	github.com/sixfold-go/sixfold/transport/nats => ../../transport/nats
)
