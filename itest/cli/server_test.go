package cli

import (
	"encoding/binary"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/sixfold-go/sixfold/itest/servers"
)

// A read replica cannot publish, and may lack what was committed: whoever writes is told to go to the primary, and so is who
// asks doctor. What only looks may look there.
func TestReadReplicaNeedsThePrimary(t *testing.T) {
	primary := servers.PrivatePostgres(t, nil)
	dsn := primary.Database(t)
	owner := newRunner(t, "SIXFOLD_DSN="+dsn)
	if got := owner.run("migrate", "up"); got.code != 0 {
		t.Fatal(got.err)
	}
	standby := primary.Standby(t)
	if got := owner.run("outbox", "publish", "--topic", "orders", "--type", "orders.placed"); got.code != 0 {
		t.Fatal(got.err)
	}
	replica := newRunner(t, "SIXFOLD_DSN="+changed(t, dsn, func(u *url.URL) { u.Host = standby.Addr() }))
	for listed := ""; !strings.Contains(listed, "orders.placed"); { // it comes a moment later
		got := replica.run("outbox", "list")
		if got.code != 0 {
			t.Fatal(got.err)
		}
		listed = got.out
	}
	for _, args := range [][]string{
		{"outbox", "publish", "--topic", "orders", "--type", "orders.placed"}, {"outbox", "purge", "--all", "--yes"}, {"migrate", "down", "--to", "0", "--yes"},
	} {
		if got := replica.run(args...); got.code != 1 || got.out != "" || !strings.Contains(got.err, "needs the primary") || !strings.Contains(got.err, "connect to the primary") {
			t.Errorf("%v: code %d, %q", args, got.code, got.all())
		}
	}
	if got := replica.run("migrate", "up"); got.code != 0 || !strings.Contains(got.out, "up to date") { // there is nothing to do
		t.Errorf("migrate up: code %d, %q", got.code, got.all())
	}
	p := &patient{runner: replica}
	all, code := p.doctor()
	p.wants(all, "server", "problem", "needs the primary", "connect to the primary")
	if code != 1 {
		t.Errorf("doctor: code %d", code)
	}
	if got := owner.run("outbox", "list"); !strings.Contains(got.out, "orders.placed") {
		t.Errorf("the row is gone: %q", got.all())
	}
}

// old speaks as PostgreSQL 9.6 does when somebody connects, and answers the question for its version. It stands in for the
// real one, which today's distributions do not have: that this is how 9.6 answers is from the manual (protocol 3.0, chapter
// 52 of 9.6), and was not run.
func old(c net.Conn) {
	b := pgproto3.NewBackend(c, c)
	if _, err := b.ReceiveStartupMessage(); err != nil {
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	for name, value := range map[string]string{"server_version": "9.6.24", "server_encoding": "UTF8", "client_encoding": "UTF8", "standard_conforming_strings": "on"} {
		b.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	b.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{0, 0, 0, 1}})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	fields := []pgproto3.FieldDescription{{Name: []byte("version"), DataTypeOID: 23, DataTypeSize: 4, TypeModifier: -1}, {Name: []byte("replica"), DataTypeOID: 16, DataTypeSize: 1, TypeModifier: -1}}
	values := [][]byte{[]byte("90624"), []byte("f")}
	for b.Flush() == nil {
		m, err := b.Receive()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *pgproto3.Parse:
			b.Send(&pgproto3.ParseComplete{})
		case *pgproto3.Bind:
			for i, format := range m.ResultFormatCodes {
				fields[i].Format = format
				if format == pgproto3.BinaryFormat {
					values[i] = [][]byte{binary.BigEndian.AppendUint32(nil, 90_624), {0}}[i]
				}
			}
			b.Send(&pgproto3.BindComplete{})
		case *pgproto3.Describe:
			if m.ObjectType == 'S' {
				b.Send(&pgproto3.ParameterDescription{})
			}
			b.Send(&pgproto3.RowDescription{Fields: fields})
		case *pgproto3.Execute:
			b.Send(&pgproto3.DataRow{Values: values})
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
		case *pgproto3.Sync:
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		case *pgproto3.Query:
			b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Code: "42601", Message: "the stand-in knows one statement"})
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		case *pgproto3.Terminate:
			return
		}
	}
}

func TestServerTooOld(t *testing.T) {
	addr, _ := listener(t, old)
	r := newRunner(t, "SIXFOLD_DSN=postgres://u@"+addr+"/db?sslmode=disable")
	for _, args := range [][]string{{"outbox", "stats"}, {"outbox", "list"}, {"outbox", "publish", "--topic", "a", "--type", "b"}, {"migrate", "up"}, {"migrate", "status"}} {
		got := r.run(args...)
		if got.code != 1 || got.out != "" || !strings.Contains(got.err, "PostgreSQL at "+addr+` is version "9.6.24", which is too old`) || !strings.Contains(got.err, "use 13 or later") {
			t.Errorf("%v: code %d, %q", args, got.code, got.all())
		}
	}
	p := &patient{runner: r}
	all, code := p.doctor()
	p.wants(all, "server", "problem", "PostgreSQL 9.6.24 is too old", "use 13 or later")
	if code != 1 {
		t.Errorf("doctor: code %d", code)
	}
}
