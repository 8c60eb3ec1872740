package nats

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold"

	"github.com/sixfold-go/sixfold/bus/driver"
)

// Options of a Transport. The zero value, and nil, are right for a server with JetStream.
type Options struct {
	// Nats are options of the client: credentials, TLS, name servers, timeouts. They apply to every connection that is made
	// here; those about reconnecting and callbacks do not count.
	Nats []natsgo.Option
	// Domain of JetStream, or the prefix of its API as an account imports it; at most one of them.
	Domain, APIPrefix string

	// Topics are declared, with their dead letters, when the first sender is opened or the first subscription made.
	Topics []string
	// Require creates nothing: streams have to be there. Leases still need their bucket, which is then required too.
	Require bool
	// Stream changes the configuration of a stream before it is created: limits, placement, storage.
	Stream func(topic string, c *jetstream.StreamConfig)
	// Lanes of a stream that is created, 1 to 64: as many members of an ordered group can work at once. 0: 16.
	Lanes int
	// Replicas of what is created. More than 1 implies OnePerKey. 0: 1.
	Replicas int
	// OnePerKey is for streams that can refuse a message and take the next one, which a replicated stream and one that
	// discards new messages can: relays then keep one unconfirmed message per key.
	OnePerKey bool
	// Dedup is the window in which a created stream drops a second message of the same id. 0: 2 minutes.
	Dedup time.Duration
	// NoDedup sends no ids for that window, which spares the server a fifth of its work.
	NoDedup bool

	// StartNew lets a new group begin with what is sent from now on. False: with all that the stream still has.
	StartNew bool
	// AckWait is how long the deliveries of a group without order stay ours unless they are extended. 0: 30 s.
	AckWait time.Duration
	// Lease is how long after its death the lanes of a member of an ordered group go to others. 0: 10 s.
	Lease time.Duration
	// Bucket is the key-value bucket of these leases. Empty: "sixfold-leases".
	Bucket string

	// MaxBody in bytes of body and headers together. 0: 1 MiB less 16 KiB, which the server's default payload leaves after
	// the attributes. Raise it together with max_payload.
	MaxBody int
	// AckTimeout is how long a sender waits for a confirm before it gives its connection up. 0: 30 s.
	AckTimeout time.Duration
	// Logger, or nil for none.
	Logger *slog.Logger
}

const maxLanes = 64

// defaulted answers the options with the zero values filled in, and everything that is wrong with them.
func (o *Options) defaulted() (Options, error) {
	var d Options
	if o != nil {
		d = *o
	}
	var errs []error
	bad := func(name string, v any, rule string) {
		errs = append(errs, fmt.Errorf("nats: option %s: %w: it is %v; %s", name, sixfold.ErrInvalid, v, rule))
	}
	for _, n := range []struct {
		name  string
		value *time.Duration
		zero  time.Duration
		least time.Duration
	}{{"Dedup", &d.Dedup, 2 * time.Minute, 100 * time.Millisecond}, {"AckWait", &d.AckWait, 30 * time.Second, 100 * time.Millisecond},
		{"Lease", &d.Lease, 10 * time.Second, 200 * time.Millisecond}, {"AckTimeout", &d.AckTimeout, 30 * time.Second, 100 * time.Millisecond}} {
		switch {
		case *n.value == 0:
			*n.value = n.zero
		case *n.value < n.least:
			bad(n.name, *n.value, fmt.Sprintf("give at least %v, or 0 for %v", n.least, n.zero))
		}
	}
	for _, n := range []struct {
		name       string
		value      *int
		zero, most int
	}{{"Lanes", &d.Lanes, 16, maxLanes}, {"Replicas", &d.Replicas, 1, 5}, {"MaxBody", &d.MaxBody, 1<<20 - 16<<10, 64 << 20}} {
		switch {
		case *n.value == 0:
			*n.value = n.zero
		case *n.value < 0 || *n.value > n.most:
			bad(n.name, *n.value, fmt.Sprintf("give 1 to %d, or 0 for %d", n.most, n.zero))
		}
	}
	if d.Bucket == "" {
		d.Bucket = "sixfold-leases"
	} else if token(d.Bucket) != d.Bucket {
		bad("Bucket", driver.Quote(d.Bucket), "use letters, digits, '-' and '_'")
	}
	if d.Domain != "" && d.APIPrefix != "" {
		bad("Domain", driver.Quote(d.Domain), "give either Domain or APIPrefix")
	}
	for _, topic := range d.Topics {
		if err := checkTopic(topic); err != nil {
			errs = append(errs, fmt.Errorf("nats: option Topics: %w", err))
		}
	}
	scratch := natsgo.GetDefaultOptions()
	for i, option := range d.Nats {
		if option == nil {
			bad("Nats", fmt.Sprintf("nil at %d", i), "leave it out")
		} else if err := option(&scratch); err != nil {
			errs = append(errs, fmt.Errorf("nats: option Nats[%d]: %w", i, err))
		}
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	d.OnePerKey = d.OnePerKey || d.Replicas > 1
	return d, errors.Join(errs...)
}

// servers splits the addresses, separated by commas, and says what is wrong without showing any, since they may have
// passwords. plain names a host that is not this one and that would see credentials unencrypted.
func servers(urls string) (list, hosts []string, plain string, err error) {
	for s := range strings.SplitSeq(urls, ",") {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		u, perr := url.Parse(s)
		switch {
		case perr != nil:
			return nil, nil, "", fmt.Errorf("nats: server address: %w: it is no URL; write nats://host:4222, and @ : / # %% in a user or password as %%40 %%3A %%2F %%23 %%25", sixfold.ErrInvalid)
		case u.Scheme != "nats" && u.Scheme != "tls" && u.Scheme != "ws" && u.Scheme != "wss":
			return nil, nil, "", fmt.Errorf("nats: server address: %w: the scheme %s is none of nats, tls, ws, wss; write nats://host:4222", sixfold.ErrInvalid, driver.Quote(u.Scheme))
		case u.Hostname() == "":
			return nil, nil, "", fmt.Errorf("nats: server address: %w: there is no host; write nats://host:4222", sixfold.ErrInvalid)
		}
		list, hosts = append(list, s), append(hosts, u.Host)
		if u.User != nil && (u.Scheme == "nats" || u.Scheme == "ws") && !loopback(u.Hostname()) {
			plain = u.Host
		}
	}
	if len(list) == 0 {
		return nil, nil, "", fmt.Errorf("nats: server address: %w: it is empty; write nats://host:4222", sixfold.ErrInvalid)
	}
	return list, hosts, plain, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
