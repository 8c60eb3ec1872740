package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

type mariaDatabase struct{}

func (mariaDatabase) start(ctx context.Context) (databaseServer, string, error) {
	s, err := servers.StartMariaDB(ctx, nil)
	if err != nil {
		return nil, "", err
	}
	dsn, err := s.CreateDatabase(ctx, "torture")
	if err != nil {
		return nil, "", errors.Join(err, s.Close())
	}
	return s, dsn, nil
}

// ledger has a table effect without any unique constraint, and dead too, on purpose: what happens twice must show.
func (mariaDatabase) ledger() []string {
	return []string{"CREATE TABLE ledger_key (key varbinary(64) PRIMARY KEY, n bigint NOT NULL DEFAULT 0)",
		"CREATE TABLE ledger_tx (tx varbinary(36) NOT NULL)",
		"CREATE TABLE ledger_poison (consumer varbinary(64) PRIMARY KEY, key varbinary(64) NOT NULL, n bigint NOT NULL)",
		"CREATE TABLE effect (id bigint NOT NULL AUTO_INCREMENT, consumer varbinary(64) NOT NULL, key varbinary(64) NOT NULL, n bigint NOT NULL, msg varbinary(36) NOT NULL, INDEX (id))",
		"CREATE TABLE dead (id bigint NOT NULL AUTO_INCREMENT, parked bigint NOT NULL, consumer varbinary(64) NOT NULL, key varbinary(64) NOT NULL, n bigint NOT NULL, msg varbinary(36) NOT NULL, INDEX (id))"}
}

func (d mariaDatabase) roles(ctx context.Context, db pool, st *store.Store, _ string, o *Options) (map[string]string, error) {
	return nil, errors.Join(st.Migrate(ctx), createLedger(ctx, d, db, o.Keys))
}

func (mariaDatabase) endSessions(ctx context.Context, db pool) error {
	var ids []int64
	var id int64
	err := db.each(ctx, "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()", []any{&id}, func() { ids = append(ids, id) })
	for _, id := range ids {
		_, _ = db.exec(ctx, "KILL "+strconv.FormatInt(id, 10)) // one that has ended meanwhile is no error
	}
	return err
}

func (mariaDatabase) publisher(ctx context.Context, p *process) error {
	return runPublisher(ctx, p, mariaBusiness{p.db.(*mariaPool)})
}

func (mariaDatabase) consumer(ctx context.Context, p *process) error {
	return runConsumer(ctx, p, mariaBusiness{p.db.(*mariaPool)})
}

func (mariaDatabase) lastEffect() string { return "(SELECT coalesce(max(id), 0) FROM effect)" }

func (mariaDatabase) lastParked() string {
	return "(SELECT AUTO_INCREMENT - 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'sixfold_parked')"
}

func (mariaDatabase) never() string { return "9223372036854775807" }

func (mariaDatabase) numberOf() string {
	return "CAST(JSON_VALUE(CONVERT(body USING utf8mb4), '$.n') AS SIGNED)"
}

func (mariaDatabase) asID(column string) string { return column }

func (mariaDatabase) open(dsn string, connections int) (pool, error) {
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, errors.New("torture: the database's DSN cannot be read") // the driver's error could show the password
	}
	config.InterpolateParams = true
	config.Params = map[string]string{"tx_isolation": "'READ-COMMITTED'"}
	p := &mariaPool{}
	config.DialFunc = p.dial
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("torture: connect: %w", err)
	}
	p.db = sql.OpenDB(connector)
	p.db.SetMaxOpenConns(connections)
	p.db.SetMaxIdleConns(connections)
	return p, nil
}

type mariaPool struct {
	db          *sql.DB
	connections sync.Map // by the server's number, *mariaConn
}

func (p *mariaPool) runner() sqltx.Runner { return sqltx.StdDB(p.db) }

func (p *mariaPool) store(o *store.Options) (*store.Store, error) {
	return store.MySQL(sqltx.StdDB(p.db), o)
}

var (
	mariaParameter = regexp.MustCompile(`\$(\d+)`)
	mariaKey       = regexp.MustCompile(`(^|[^.\w])key\b`)
)

// mariaSQL translates a question.
func mariaSQL(q string, args []any) (string, []any) {
	q = strings.ReplaceAll(q, "sixfold.", "sixfold_")
	q = mariaKey.ReplaceAllString(q, "$1`key`")
	var order []any
	q = mariaParameter.ReplaceAllStringFunc(q, func(p string) string {
		n, _ := strconv.Atoi(p[1:]) // digits
		order = append(order, args[n-1])
		return "?"
	})
	return q, order
}

func (p *mariaPool) row(ctx context.Context, q string, args []any, dest ...any) error {
	q, args = mariaSQL(q, args)
	return p.db.QueryRowContext(ctx, q, args...).Scan(dest...)
}

func (p *mariaPool) each(ctx context.Context, q string, dest []any, fn func()) error {
	q, _ = mariaSQL(q, nil)
	rows, err := p.db.QueryContext(ctx, q)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		fn()
	}
	return rows.Err()
}

func (p *mariaPool) exec(ctx context.Context, q string, args ...any) (int64, error) {
	q, args = mariaSQL(q, args)
	r, err := p.db.ExecContext(ctx, q, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (p *mariaPool) ping(ctx context.Context) error { return p.db.PingContext(ctx) }
func (p *mariaPool) close()                         { _ = p.db.Close() } // what it could say comes too late

// dial opens a connection that can be cut, and is found by the number that the server gives it.
func (p *mariaPool) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := dialCuttable(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &mariaConn{cuttable: conn.(*cuttable), pool: p}, nil
}

type mariaConn struct {
	*cuttable
	pool  *mariaPool
	hello []byte // what was read so far, until the number is known
	id    atomic.Uint32
}

// Read implements net.Conn. The server's first packet has its number (protocol version 10: a header of four bytes, a
// version, a text that ends with NUL, four bytes). One goroutine reads.
func (c *mariaConn) Read(b []byte) (int, error) {
	n, err := c.cuttable.Read(b)
	if c.id.Load() == 0 && n > 0 {
		c.hello = append(c.hello, b[:n]...)
		if len(c.hello) > 5 {
			if end := bytes.IndexByte(c.hello[5:], 0); end >= 0 && len(c.hello) >= 5+end+5 {
				id := binary.LittleEndian.Uint32(c.hello[5+end+1:])
				c.id.Store(id)
				c.pool.connections.Store(id, c)
				c.hello = nil
			}
		}
	}
	return n, err
}

// Close implements net.Conn.
func (c *mariaConn) Close() error {
	c.pool.connections.CompareAndDelete(c.id.Load(), c)
	return c.cuttable.Close()
}

// SyscallConn implements syscall.Conn, through which the driver looks whether an idle connection is still there.
func (c *mariaConn) SyscallConn() (syscall.RawConn, error) {
	conn, ok := c.cuttable.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("torture: the connection has no file")
	}
	return conn.SyscallConn()
}
