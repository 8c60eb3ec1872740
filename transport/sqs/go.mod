module github.com/sixfold-go/sixfold/transport/sqs

go 1.26.0

require (
	github.com/aws/aws-sdk-go-v2 v1.47.7
	github.com/aws/aws-sdk-go-v2/config v1.33.15
	github.com/aws/aws-sdk-go-v2/credentials v1.20.15
	github.com/aws/aws-sdk-go-v2/service/sns v1.47.9
	github.com/aws/aws-sdk-go-v2/service/sqs v1.52.10
	github.com/aws/smithy-go v1.28.8
	github.com/sixfold-go/sixfold v0.0.0
)

require (
	github.com/aws/aws-sdk-go-v2/feature/ec2/imds v1.20.7 // indirect
	github.com/aws/aws-sdk-go-v2/internal/configsources v1.5.10 // indirect
	github.com/aws/aws-sdk-go-v2/internal/endpoints/v2 v2.8.10 // indirect
	github.com/aws/aws-sdk-go-v2/internal/v4a v1.5.10 // indirect
	github.com/aws/aws-sdk-go-v2/service/internal/accept-encoding v1.13.24 // indirect
	github.com/aws/aws-sdk-go-v2/service/internal/presigned-url v1.14.10 // indirect
	github.com/aws/aws-sdk-go-v2/service/signin v1.12.3 // indirect
	github.com/aws/aws-sdk-go-v2/service/sso v1.39.3 // indirect
	github.com/aws/aws-sdk-go-v2/service/ssooidc v1.44.3 // indirect
	github.com/aws/aws-sdk-go-v2/service/sts v1.51.8 // indirect
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
	github.com/sixfold-go/sixfold/transport/rabbitmq => ../rabbitmq
	github.com/sixfold-go/sixfold/vet => ../../vet
)
