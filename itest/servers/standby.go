package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// StartStandby starts a hot standby of this server, which reads its log over TCP and answers questions that only read. It is
// a copy of the server's files, for which the server stops for a moment; sessions are ended. The standby is a server like
// others: whoever starts it closes it, before the server that it follows.
func (p *PostgresServer) StartStandby(ctx context.Context) (*PostgresServer, error) {
	s := &PostgresServer{bin: p.bin, as: p.as, password: p.password}
	var err error
	if s.dir, err = s.as.makeDir("sixfold-pg-"); err != nil {
		return nil, err
	}
	if err := s.follow(ctx, p); err != nil {
		return nil, errors.Join(fmt.Errorf("servers: start a standby: %w", err), s.Close())
	}
	return s, nil
}

// follow makes the files of a standby of p, and starts it.
func (p *PostgresServer) follow(ctx context.Context, primary *PostgresServer) error {
	for _, dir := range []string{p.data(), p.sockets()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		if err := p.as.own(dir); err != nil {
			return err
		}
	}
	guard, err := watch(p.pidFile(), p.dir)
	if err != nil {
		return err
	}
	p.guard = guard
	if err := primary.Stop(Fast); err != nil {
		return err
	}
	if err := errors.Join(copyTree(primary.data(), p.data(), p.as), primary.Start(ctx)); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(primary.Addr())
	if err != nil {
		return err
	}
	conf := settings(p.sockets(), p.bin, map[string]string{
		"primary_conninfo": fmt.Sprintf("host=%s port=%s user=%s password=%s", host, port, superuser, p.password),
	})
	if err := configure(p.data(), conf); err != nil {
		return err
	}
	signal := filepath.Join(p.data(), "standby.signal")
	if err := errors.Join(os.WriteFile(signal, nil, 0o600), p.as.own(signal)); err != nil {
		return err
	}
	return p.Start(ctx)
}

// Standby starts a hot standby of this server for this test, and closes it when the test ends.
func (p *PostgresServer) Standby(t testing.TB) *PostgresServer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	s, err := p.StartStandby(ctx)
	if err != nil {
		giveUp(t, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of the standby ends with:\n%s", s.Log())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
