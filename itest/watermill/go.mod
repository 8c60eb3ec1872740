module github.com/sixfold-go/sixfold/itest/watermill

go 1.26.0

require (
	github.com/ThreeDotsLabs/watermill v1.5.1
	github.com/sixfold-go/sixfold v0.0.0
	github.com/sixfold-go/sixfold/itest v0.0.0
	github.com/sixfold-go/sixfold/transport/nats v0.0.0
	github.com/sixfold-go/sixfold/transport/rabbitmq v0.0.0
)

require (
	github.com/dustin/go-humanize v1.0.1 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/ncruces/go-strftime v1.0.0 // indirect
	github.com/pierrec/lz4/v4 v4.1.33 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	github.com/twmb/franz-go v1.22.2 // indirect
	github.com/twmb/franz-go/pkg/kadm v1.19.0 // indirect
	github.com/twmb/franz-go/pkg/kmsg v1.15.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	modernc.org/libc v1.77.1 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
)

require (
	filippo.io/edwards25519 v1.2.0 // indirect
	github.com/antithesishq/antithesis-sdk-go v0.8.0-default-no-op // indirect
	github.com/davecgh/go-spew v1.1.1 // indirect
	github.com/go-sql-driver/mysql v1.10.1 // indirect
	github.com/google/go-tpm v0.9.8 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/pgx/v5 v5.12.0
	github.com/klauspost/compress v1.20.3 // indirect
	github.com/lithammer/shortuuid/v3 v3.0.7 // indirect
	github.com/minio/highwayhash v1.0.4 // indirect
	github.com/nats-io/jwt/v2 v2.8.2 // indirect
	github.com/nats-io/nats-server/v2 v2.15.2 // indirect
	github.com/nats-io/nats.go v1.55.0 // indirect
	github.com/nats-io/nkeys v0.4.16 // indirect
	github.com/nats-io/nuid v1.0.1 // indirect
	github.com/oklog/ulid v1.3.1 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/pmezard/go-difflib v1.0.0 // indirect
	github.com/rabbitmq/amqp091-go v1.16.0 // indirect
	github.com/sixfold-go/sixfold/transport/kafka v0.0.0
	github.com/stretchr/testify v1.11.1 // indirect
	github.com/twmb/franz-go/pkg/kfake v0.0.0-20260918054303-01f206a7e32c
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	golang.org/x/time v0.16.0 // indirect
	gopkg.in/yaml.v3 v3.0.1 // indirect
	modernc.org/sqlite v1.60.1
)

replace (
	github.com/sixfold-go/sixfold => ../..
	github.com/sixfold-go/sixfold/benchmarks => ../../benchmarks
	github.com/sixfold-go/sixfold/cmd/sixfold => ../../cmd/sixfold
	github.com/sixfold-go/sixfold/codec/protobuf => ../../codec/protobuf
	github.com/sixfold-go/sixfold/examples/demo => ../../examples/demo
	github.com/sixfold-go/sixfold/examples/demo-nats => ../../examples/demo-nats
	github.com/sixfold-go/sixfold/itest => ..
	github.com/sixfold-go/sixfold/postgres => ../../postgres
	github.com/sixfold-go/sixfold/transport/kafka => ../../transport/kafka
	github.com/sixfold-go/sixfold/transport/nats => ../../transport/nats
	github.com/sixfold-go/sixfold/transport/rabbitmq => ../../transport/rabbitmq
	github.com/sixfold-go/sixfold/transport/sqs => ../../transport/sqs
	github.com/sixfold-go/sixfold/vet => ../../vet
)
