package kafka

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/sixfold-go/sixfold"

	"github.com/sixfold-go/sixfold/bus/driver"
)

// An address is what the text that New takes says.
type address struct {
	seeds []string // host:port
	tls   bool
	login sasl.Mechanism // nil: none
}

const form = "write kafka://host:9092,host:9092, or kafka://user:password@host:9093?tls=true&sasl=scram-sha-512"

// parseAddress says what is wrong with an address without showing it, since it may have a password.
func parseAddress(text string) (a address, err error) {
	bad := func(what, fix string) (address, error) {
		return address{}, fmt.Errorf("kafka: broker address: %w: %s; %s", sixfold.ErrInvalid, what, fix)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return bad("it is empty", form)
	}
	scheme, rest, there := strings.Cut(text, "://")
	if !there {
		scheme, rest = "kafka", text
	}
	switch scheme {
	case "kafka":
	case "kafkas":
		a.tls = true
	default:
		return bad("the scheme "+driver.Quote(scheme)+" is none of kafka and kafkas", form)
	}
	rest, query, _ := strings.Cut(rest, "?")
	rest = strings.TrimSuffix(rest, "/")
	var user *url.Userinfo
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		u, perr := url.Parse("kafka://" + rest[:at] + "@host")
		if perr != nil || u.User == nil || u.Host != "host" {
			return bad("its user or password has one of : / # ? % @ as it is", "write these signs as %3A %2F %23 %3F %25 %40")
		}
		user, rest = u.User, rest[at+1:]
	}
	for host := range strings.SplitSeq(rest, ",") {
		seed, what, fix := checkHost(strings.TrimSpace(host))
		if what != "" {
			return bad(what, fix)
		}
		a.seeds = append(a.seeds, seed)
	}
	params, perr := url.ParseQuery(query)
	if perr != nil {
		return bad("its parameters cannot be read", form)
	}
	mechanism := ""
	for name, values := range params {
		value := strings.ToLower(values[len(values)-1])
		switch name {
		case "tls":
			on, perr := strconv.ParseBool(value)
			if perr != nil {
				return bad("the parameter tls is neither true nor false", form)
			}
			a.tls = a.tls || on
		case "sasl":
			mechanism = value
		default:
			return bad("the parameter "+driver.Quote(name)+" is none of tls and sasl", form)
		}
	}
	switch {
	case user == nil && mechanism != "":
		return bad("it names a SASL mechanism and has no user", form)
	case user == nil:
		return a, nil
	}
	password, _ := user.Password()
	switch mechanism {
	case "", "plain":
		a.login = plain.Auth{User: user.Username(), Pass: password}.AsMechanism()
	case "scram-sha-256":
		a.login = scram.Auth{User: user.Username(), Pass: password}.AsSha256Mechanism()
	case "scram-sha-512":
		a.login = scram.Auth{User: user.Username(), Pass: password}.AsSha512Mechanism()
	default:
		return bad("the SASL mechanism "+driver.Quote(mechanism)+" is none of plain, scram-sha-256 and scram-sha-512", "set Options.SASL or Options.Token for others")
	}
	return a, nil
}

// checkHost answers host and port, or what is wrong. It shows nothing that could be a part of a password.
func checkHost(s string) (seed, what, fix string) {
	switch {
	case s == "":
		return "", "there is no host", form
	case strings.ContainsAny(s, "/#%@ "):
		return "", "a host or port has a sign that it cannot have, or a password has it as it is", "write : / # ? % @ in a user or password as %3A %2F %23 %3F %25 %40"
	case strings.Count(s, ":") > 1 && s[0] != '[':
		return "", "its host is an IPv6 address without brackets, or its password has a : or @ as it is", "write kafka://[::1]:9092"
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.Trim(s, "[]"), "9092"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", "a port is no number from 1 to 65535", "give one, or none for 9092"
	}
	if host == "" {
		return "", "there is no host", form
	}
	return net.JoinHostPort(host, port), "", ""
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
