package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"github.com/sixfold-go/sixfold/sqltx"
)

// parseMySQL reads a URL, mysql://user:password@host:3306/database?tls=true, or the driver's own form,
// user:password@tcp(host:3306)/database. Parameters are the driver's in both.
func parseMySQL(text string) (*mysql.Config, error) {
	bad := usage("the DSN cannot be read", "write mysql://user@host/database, with @ : / # ? % in a password as %40 %3A %2F %23 %3F %25, or user:password@tcp(host:3306)/database")
	rest, isURL := strings.CutPrefix(text, "mysql://")
	if !isURL {
		if rest, isURL = strings.CutPrefix(text, "mariadb://"); !isURL {
			config, err := mysql.ParseDSN(text)
			if err != nil {
				return nil, bad
			}
			return config, nil
		}
	}
	if err := checkURL("DSN", rest); err != nil {
		return nil, err
	}
	u, err := url.Parse("mysql://" + rest)
	if err != nil {
		return nil, bad
	}
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	// The driver reads its parameters only from its own form.
	base := mysql.NewConfig()
	base.Net, base.Addr, base.DBName = "tcp", net.JoinHostPort(u.Hostname(), port), strings.TrimPrefix(u.Path, "/")
	form := base.FormatDSN()
	if u.RawQuery != "" {
		form, _, _ = strings.Cut(form, "?")
		form += "?" + u.RawQuery
	}
	config, err := mysql.ParseDSN(form)
	if err != nil {
		return nil, bad
	}
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	return config, nil
}

// isDriverForm reports whether a DSN looks like go-sql-driver's: a network and an address in parentheses.
func isDriverForm(text string) bool {
	before, _, ok := strings.Cut(text, "(")
	return ok && !strings.Contains(text, "://") && (strings.HasSuffix(before, "@tcp") || strings.HasSuffix(before, "@unix"))
}

// openMySQL connects once and asks nothing but the isolation that the store wants.
func (a *app) openMySQL(ctx context.Context, where dsn, _ bool) (*database, error) {
	config, err := parseMySQL(where.text)
	if err != nil {
		return nil, err
	}
	a.secrets.all = append(a.secrets.all, config.Passwd)
	host, _, _ := net.SplitHostPort(config.Addr)
	if config.Net == "unix" {
		host = config.Addr
	}
	if (config.TLSConfig == "" || config.TLSConfig == "false" || config.TLSConfig == "preferred") && !loopback(host) {
		if err := a.plaintext("MySQL", host, "add tls=true to the DSN"); err != nil {
			return nil, err
		}
	}
	config.Timeout, config.InterpolateParams, config.Logger = a.timeout, true, log.New(io.Discard, "", 0)
	limited, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	name, err := isolationVariable(limited, config)
	if err != nil {
		if interrupted(ctx) {
			return nil, ctx.Err()
		}
		return nil, whyNoMySQL(err, config)
	}
	if config.Params[name] == "" {
		config.Params = map[string]string{name: "'READ-COMMITTED'"}
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, failedWith("the database cannot be opened", "look at the DSN")
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(2)
	return &database{run: sqltx.StdDB(db), server: "MySQL at " + config.Addr, close: func() { _ = db.Close() }}, nil
}

// isolationVariable is what the server calls the isolation of a session.
func isolationVariable(ctx context.Context, config *mysql.Config) (name string, err error) {
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return "", err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	err = db.QueryRowContext(ctx, "SHOW VARIABLES WHERE Variable_name IN ('transaction_isolation', 'tx_isolation')").Scan(&name, new(string))
	return name, err
}

// whyNoMySQL tells apart why nobody answered.
func whyNoMySQL(err error, config *mysql.Config) error {
	var server *mysql.MySQLError
	var dns *net.DNSError
	var network net.Error
	var host x509.HostnameError
	var verify *tls.CertificateVerificationError
	at := "MySQL at " + config.Addr
	switch {
	case errors.As(err, &server) && (server.Number == 1045 || server.Number == 1698):
		return cannotConnect(at+" refused the password or the user "+quote(config.User), "look at user and password of the DSN, and from which hosts the user may come")
	case errors.As(err, &server) && (server.Number == 1049 || server.Number == 1044):
		return cannotConnect(at+" has no database "+quote(config.DBName)+" for this user", "create it, correct its name in the DSN, or grant the user what it needs there")
	case errors.As(err, &server):
		return cannotConnect(fmt.Sprintf("%s refused the connection (error %d): %s", at, server.Number, safe(server.Message)), "do what the server says")
	case errors.Is(err, mysql.ErrNoTLS):
		return cannotConnect(at+" takes no TLS", "switch it on there, or leave tls out and say --insecure")
	case errors.As(err, &dns):
		return cannotConnect("the host of "+config.Addr+" is unknown", "look at its spelling, and at the name servers of this machine")
	case errors.Is(err, syscall.ECONNREFUSED):
		return cannotConnect("nobody listens at "+config.Addr, "start the server there, or correct host and port of the DSN")
	case errors.As(err, &host), errors.As(err, &verify):
		return cannotConnect("the certificate of "+config.Addr+" is signed by nobody who is trusted here, or is for another name", "use the name that it has, and an authority that this machine knows")
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return cannotConnect(at+" did not answer in time", "look whether a firewall is in the way, or raise --timeout")
	}
	return cannotConnect(at+" cannot be reached", "look at the DSN and at the log of the server")
}
