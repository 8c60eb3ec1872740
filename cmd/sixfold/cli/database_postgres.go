package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/postgres"
)

// openPostgres connects once and asks nothing else.
func (a *app) openPostgres(ctx context.Context, where dsn, _ bool) (*database, error) {
	config, err := pgxpool.ParseConfig(where.text)
	if err != nil {
		return nil, unreadable(err)
	}
	config.MaxConns = 2
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "sixfold"
	}
	config.ConnConfig.ConnectTimeout = a.timeout
	c := &config.ConnConfig.Config
	a.secrets.all = append(a.secrets.all, c.Password) // perhaps of a password file
	hosts := append([]*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
	for _, h := range hosts {
		if h.TLSConfig == nil && !loopback(h.Host) {
			if err := a.plaintext("PostgreSQL", h.Host, "add sslmode=verify-full to the DSN"); err != nil {
				return nil, err
			}
			break
		}
	}
	address := address(c.Host, c.Port)
	limited, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, failedWith("the database cannot be opened", "look at the DSN")
	}
	conn, err := pool.Acquire(limited)
	if err != nil {
		pool.Close()
		if interrupted(ctx) {
			return nil, ctx.Err()
		}
		return nil, whyNoPostgres(err, address, c.User, c.Database)
	}
	version := conn.Conn().PgConn().ParameterStatus("server_version") // which every server tells at once
	conn.Release()
	db := &database{run: postgres.DB(pool), server: "PostgreSQL at " + address, close: pool.Close}
	if digits, _, _ := strings.Cut(version, "."); isTooOld(digits) {
		db.unfit = failedWith(fmt.Sprintf("PostgreSQL at %s is version %s, which is too old", address, quote(version)), "use 13 or later")
	}
	return db, nil
}

// isTooOld reports whether a major version, such as 9 or 16beta1, is one that cannot hold the tables.
func isTooOld(major string) bool {
	end := strings.IndexFunc(major, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		major = major[:end]
	}
	n, err := strconv.Atoi(major)
	return err == nil && n < 13
}

func address(host string, port uint16) string {
	if strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") {
		return fmt.Sprintf("%s/.s.PGSQL.%d", host, port)
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// unreadable says why a DSN cannot be read. The reason alone is shown: the text around it has the DSN.
func unreadable(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	reason := err.Error()
	for _, known := range []string{"sslmode", "certificate", "sslrootcert", "sslcert", "sslkey", "service", "connect_timeout", "target_session_attrs", "passfile"} {
		if strings.Contains(reason, known) {
			return usage("the DSN has a value for "+known+" that cannot be used", "look at its spelling, and that its files are there")
		}
	}
	return usage("the DSN cannot be read", "write postgres://user@host/database, with @ : / # ? % in a password as %40 %3A %2F %23 %3F %25")
}

// whyNoPostgres tells apart why nobody answered.
func whyNoPostgres(err error, address, user, db string) error {
	var pg *pgconn.PgError
	var dns *net.DNSError
	var network net.Error
	var host x509.HostnameError
	var authority x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &pg) && (pg.Code == "28P01" || pg.Code == "28000"):
		return cannotConnect(fmt.Sprintf("PostgreSQL at %s refused the password or the user %s", address, quote(user)), "look at user and password of the DSN, and at pg_hba.conf of the server")
	case errors.As(err, &pg) && pg.Code == "3D000":
		return cannotConnect(fmt.Sprintf("PostgreSQL at %s has no database %s", address, quote(db)), "create it, or correct its name in the DSN")
	case errors.As(err, &pg):
		return cannotConnect(fmt.Sprintf("PostgreSQL at %s refused the connection (SQLSTATE %s): %s", address, pg.Code, safe(pg.Message)), "do what the server says")
	case errors.As(err, &dns):
		return cannotConnect("the host of "+address+" is unknown", "look at its spelling, and at the name servers of this machine")
	case errors.Is(err, syscall.ECONNREFUSED):
		return cannotConnect("nobody listens at "+address, "start PostgreSQL there, or correct host and port of the DSN")
	case errors.As(err, &host):
		return cannotConnect("the certificate of "+address+" is for another name", "use the name that it has, or sslmode=verify-ca")
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return cannotConnect("the certificate of "+address+" has expired, or is not valid yet", "renew it, and look at the clocks")
	case errors.As(err, &authority), errors.As(err, &verify):
		return cannotConnect("the certificate of "+address+" is signed by nobody who is trusted here", "name its authority with sslrootcert=file")
	case strings.Contains(err.Error(), "server refused TLS"):
		return cannotConnect("PostgreSQL at "+address+" takes no TLS", "switch it on there, or say sslmode=disable and --insecure")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return cannotConnect("PostgreSQL at "+address+" did not answer in time", "look whether a firewall is in the way, or raise --timeout")
	}
	return cannotConnect("PostgreSQL at "+address+" cannot be reached", "look at the DSN and at the log of the server")
}
