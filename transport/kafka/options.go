package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"

	"github.com/sixfold-go/sixfold"
)

// Options of a Transport. The zero value, and nil, are right for brokers with Kafka's defaults.
type Options struct {
	// TLS switches TLS on, with roots, client certificates and server name. Nil: as the address says.
	TLS *tls.Config
	// SASL logs in, in place of the user and password of the address: any mechanism of franz-go's.
	SASL sasl.Mechanism
	// Token logs in by OAUTHBEARER: it answers the token, and is asked for each connection and when the broker wants a new one.
	Token func(ctx context.Context) (string, error)
	// AllowPlaintext permits passwords (PLAIN) and tokens to go unencrypted to other hosts than this one.
	AllowPlaintext bool
	// Dial opens a connection, for proxies and the like; TLS comes on top of it. Nil: TCP.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Client are further options of franz-go's client, for all of ours: a logger, a rack, sizes of fetches. Those about groups,
	// topics, transactions and acknowledgements are overruled.
	Client []kgo.Opt

	// Topology is declared when the first sender is opened or the first subscription made; nil: nothing.
	Topology *Topology
	// Topics are declared after it, with their dead letters.
	Topics []string
	// Require creates nothing: the topics have to be there.
	Require bool
	// Partitions of topics that are created, 1 to 10,000. 0: 12. Their number bounds how many members of a group have work, and
	// changing it later moves keys.
	Partitions int
	// Replication is the number of copies of topics that are created. 0: the brokers' default.
	Replication int
	// Topic changes a topic before it is created.
	Topic func(t *Topic)

	// Compression of what is sent, the first that the broker knows. Nil: Snappy.
	Compression []kgo.CompressionCodec
	// MaxBody in bytes of body and headers together. 0: 1,032,192, which leaves 16 KiB of the brokers' default for attributes. Raise it
	// with max.message.bytes of the topics, which is looked at too: it holds before compression.
	MaxBody int
	// AckTimeout is how long a broker may take to confirm. 0: 30 s.
	AckTimeout time.Duration

	// ServerSide has the brokers assign partitions (the protocol of KIP-848, Kafka 4), for all members of a group or none.
	ServerSide bool
	// StartNew has a new group begin with what is sent from now on. False: with everything that the topic still has.
	StartNew bool
	// SessionTimeout is how long a member may be silent before its partitions go to others; with ServerSide, the brokers'
	// group.consumer.session.timeout.ms, which has to be named here if it was changed. 0: 45 s.
	SessionTimeout time.Duration
	// DrainTimeout is how long a partition that is to go to another member waits for the handlers of what was delivered. 0: 20 s.
	DrainTimeout time.Duration
	// Logger, or nil for none.
	Logger *slog.Logger

	compressor kgo.Compressor // nil: none
}

// defaulted answers the options with the zero values filled in, and everything that is wrong with them.
func (o *Options) defaulted() (Options, error) {
	var d Options
	if o != nil {
		d = *o
	}
	var errs []error
	bad := func(name string, v any, rule string) {
		errs = append(errs, fmt.Errorf("kafka: option %s: %w: it is %v; %s", name, sixfold.ErrInvalid, v, rule))
	}
	for _, n := range []struct {
		name        string
		value       *time.Duration
		zero, least time.Duration
	}{{"AckTimeout", &d.AckTimeout, 30 * time.Second, 100 * time.Millisecond}, {"SessionTimeout", &d.SessionTimeout, 45 * time.Second, 500 * time.Millisecond},
		{"DrainTimeout", &d.DrainTimeout, 20 * time.Second, 10 * time.Millisecond}} {
		switch {
		case *n.value == 0:
			*n.value = n.zero
		case *n.value < n.least || *n.value > time.Hour:
			bad(n.name, *n.value, fmt.Sprintf("give %v to 1h, or 0 for %v", n.least, n.zero))
		}
	}
	for _, n := range []struct {
		name       string
		value      *int
		zero, most int
		or         string
	}{{"MaxBody", &d.MaxBody, 1<<20 - 16<<10, 64 << 20, "1,032,192"}, {"Partitions", &d.Partitions, 12, 10_000, "12"}, {"Replication", &d.Replication, -1, 1000, "the brokers' default"}} {
		switch {
		case *n.value == 0:
			*n.value = n.zero
		case *n.value < 0 || *n.value > n.most:
			bad(n.name, *n.value, fmt.Sprintf("give 1 to %d, or 0 for %s", n.most, n.or))
		}
	}
	for _, topic := range d.Topics {
		if err := checkTopic(topic); err != nil {
			errs = append(errs, fmt.Errorf("kafka: option Topics: %w", err))
		}
	}
	for i, opt := range d.Client {
		if opt == nil {
			bad("Client", fmt.Sprintf("nil at %d", i), "leave it out")
		}
	}
	if d.SASL != nil && d.Token != nil {
		bad("Token", "set", "set SASL or Token, not both")
	}
	if d.Compression == nil {
		d.Compression = []kgo.CompressionCodec{kgo.SnappyCompression(), kgo.NoCompression()}
	}
	var err error
	if d.compressor, err = kgo.DefaultCompressor(slices.Clone(d.Compression)...); err != nil { // which changes its arguments
		errs = append(errs, fmt.Errorf("kafka: option Compression: %w: %w", sixfold.ErrInvalid, err))
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d, errors.Join(errs...)
}
