package rabbitmq

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold"

	"github.com/sixfold-go/sixfold/bus/driver"
)

// A node is one address.
type node struct {
	amqp.URI
	heartbeat time.Duration // 0: not given
}

// addresses splits the addresses, separated by commas, and says what is wrong without showing any, since they may have
// passwords. plain names a host that is not this one and that would see credentials unencrypted.
func addresses(urls string) (nodes []node, hosts []string, plain string, err error) {
	const form = "write amqp://user:password@host:5672/vhost"
	bad := func(what, fix string) error {
		return fmt.Errorf("rabbitmq: node address: %w: %s; %s", sixfold.ErrInvalid, what, fix)
	}
	for s := range strings.SplitSeq(urls, ",") {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		u, perr := url.Parse(s)
		switch {
		case perr != nil && strings.Contains(perr.Error(), "invalid port"):
			return nil, nil, "", bad("its port is no number, or its password has one of : / # @ % as it is", form+", and these signs as %3A %2F %23 %40 %25")
		case perr != nil:
			return nil, nil, "", bad("it is no URL", form+", and @ : / # % in a user or password as %40 %3A %2F %23 %25")
		case u.Scheme != "amqp" && u.Scheme != "amqps":
			return nil, nil, "", bad("the scheme "+driver.Quote(u.Scheme)+" is none of amqp and amqps", form)
		case strings.Count(u.Host, ":") > 1 && u.Host[0] != '[':
			return nil, nil, "", bad("its host is an IPv6 address without brackets, or its password has a : or @ as it is", "write amqp://[::1]:5672/vhost")
		case u.Hostname() == "":
			return nil, nil, "", bad("there is no host", form)
		}
		if port := u.Port(); port != "" {
			if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
				return nil, nil, "", bad("the port "+driver.Quote(port)+" is none", "give one from 1 to 65535, or none for 5672, with TLS 5671")
			}
		}
		uri, perr := amqp.ParseURI(s)
		n := node{URI: uri}
		if seconds := u.Query().Get("heartbeat"); perr == nil && seconds != "" {
			h, _ := strconv.Atoi(seconds) // ParseURI has seen its error
			n.heartbeat = time.Duration(h) * time.Second
		}
		if perr != nil {
			return nil, nil, "", bad("one of its parameters cannot be read", "see https://www.rabbitmq.com/docs/uri-query-parameters")
		}
		nodes, hosts = append(nodes, n), append(hosts, n.address())
		if u.User != nil && u.Scheme == "amqp" && !loopback(n.Host) {
			plain = hosts[len(hosts)-1]
		}
	}
	if len(nodes) == 0 {
		return nil, nil, "", bad("it is empty", form)
	}
	return nodes, hosts, plain, nil
}

func (n node) address() string { return net.JoinHostPort(n.Host, strconv.Itoa(n.Port)) }

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// tlsConfig is the user's, or what the address says.
func (t *Transport) tlsConfig(n node) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.o.TLS != nil {
		c = t.o.TLS.Clone()
	} else if err := fromFiles(c, n); err != nil {
		return nil, err
	}
	if c.ServerName == "" {
		c.ServerName = n.ServerName
	}
	if c.ServerName == "" {
		c.ServerName = n.Host
	}
	return c, nil
}

func fromFiles(c *tls.Config, n node) error {
	if n.CACertFile != "" {
		pem, err := os.ReadFile(n.CACertFile)
		if err != nil {
			return fmt.Errorf("read the roots of parameter cacertfile: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("read the roots of parameter cacertfile: there is no certificate in %s; give a file in PEM", driver.Quote(n.CACertFile))
		}
	}
	if n.CertFile != "" || n.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(n.CertFile, n.KeyFile)
		if err != nil {
			return fmt.Errorf("read the client certificate of parameters certfile and keyfile: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return nil
}
