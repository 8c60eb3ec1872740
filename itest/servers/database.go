package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// CreateDatabase makes an empty database and returns its URL. The name is made of hint, which may be any text, such as a
// test's name, and of a random part.
func (p *PostgresServer) CreateDatabase(ctx context.Context, hint string) (dsn string, err error) {
	name := databaseName(hint)
	// template0 takes no connections, so that nobody who looks into template1 is in the way.
	if err := p.exec(ctx, p.DSN(), "CREATE DATABASE "+quoteName(name)+" TEMPLATE template0"); err != nil {
		return "", fmt.Errorf("servers: create database %q: %w", name, err)
	}
	return p.dsnOf(name), nil
}

// DropDatabase removes the database that a URL of CreateDatabase names, and ends the sessions in it.
func (p *PostgresServer) DropDatabase(ctx context.Context, dsn string) error {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return fmt.Errorf("servers: drop a database: %w", err)
	}
	if config.Database == "" || config.Database == "postgres" {
		return errors.New("servers: drop a database: the URL is not one that CreateDatabase returned")
	}
	if err := p.exec(ctx, p.DSN(), "DROP DATABASE IF EXISTS "+quoteName(config.Database)+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("servers: drop database %q: %w", config.Database, err)
	}
	return nil
}

// databaseName turns any text into a name of at most 63 bytes, PostgreSQL's limit, that needs no quoting in a shell.
func databaseName(hint string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		default:
			return '_'
		}
	}, hint)
	return "t_" + clean[:min(len(clean), 50)] + "_" + strings.ToLower(rand.Text()[:10])
}

func quoteName(name string) string { return pgx.Identifier{name}.Sanitize() }
