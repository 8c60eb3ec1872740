package sqltx_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
)

// guarantees: O3
func TestCommitWhoseAnswerIsLost(t *testing.T) {
	direct := newDatabase(t)
	p, dsn := newProxy(t, direct)
	// The only place of the pool is taken by the transaction itself.
	pool := newPool(t, dsn, oneConn)
	db := postgres.DB(pool)
	warm(t, db)
	for i, c := range []struct {
		name      string
		how       cut
		committed bool
	}{
		{"cut before the server", beforeServer, false},
		{"cut after the server", afterServer, true},
		{"half open", halfOpen, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			warmUp(t, pool)
			id := int64(10 * (i + 1))
			err := db.CommitWith(t.Context(), func(tx pgx.Tx) ([]sqltx.Statement, error) {
				_, err := tx.Exec(t.Context(), "INSERT INTO t(id) VALUES ($1)", id)
				p.arm(c.how)
				return []sqltx.Statement{insert(id + 1)}, err
			})
			var want []int64
			if c.committed {
				want = []int64{id, id + 1}
			}
			got := slices.DeleteFunc(ids(t, direct), func(n int64) bool { return n < id })
			if !slices.Equal(got, want) {
				t.Errorf("the table holds %v, want %v", got, want)
			}
			switch {
			case errors.Is(err, sqltx.ErrCommitUnknown):
				t.Errorf("unknown, although the server can be asked: %v", err)
			case c.committed && err != nil:
				t.Errorf("it was committed: %v", err)
			case !c.committed && (err == nil || !strings.Contains(err.Error(), "was rolled back")):
				t.Errorf("it was rolled back: %v", err)
			}
		})
	}
}

// warmUp makes the pool's connection, which may be a new one, prepare the statements of CommitWith.
func warmUp(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	err := postgres.DB(pool).CommitWith(t.Context(), func(tx pgx.Tx) ([]sqltx.Statement, error) {
		return []sqltx.Statement{insert(0), {SQL: "DELETE FROM t WHERE id = 0"}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCommitUnknownWhenNobodyCanBeAsked(t *testing.T) {
	for _, c := range []struct {
		how  cut
		left []int64
	}{{beforeServer, []int64{-1}}, {afterServer, []int64{-1, 1}}} {
		t.Run(fmt.Sprint(c.how), func(t *testing.T) {
			direct := newDatabase(t)
			p, dsn := newProxy(t, direct)
			db := postgres.DB(newPool(t, dsn, oneConn))
			warm(t, db)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := db.CommitWith(ctx, func(tx pgx.Tx) ([]sqltx.Statement, error) {
				p.arm(c.how)
				refused := p.refuseAll()
				go func() {
					<-refused
					cancel() // which shortens the asking
				}()
				return []sqltx.Statement{insert(1)}, nil
			})
			if !errors.Is(err, sqltx.ErrCommitUnknown) {
				t.Errorf("want unknown, got %v", err)
			}
			if strings.Contains(err.Error(), "password") || !strings.Contains(err.Error(), "look whether") {
				t.Errorf("what to do is missing, or too much is there: %v", err)
			}
			if got := ids(t, direct); !slices.Equal(got, c.left) {
				t.Errorf("the table holds %v, want %v", got, c.left)
			}
		})
	}
}

// The caller's deadline passes while the answer to COMMIT is on its way: the truth is still found out, if the server says it within a
// second. A machine that gave it no second tells nothing, so the next transaction is looked at.
func TestCommitOutlivesTheContext(t *testing.T) {
	direct := newDatabase(t)
	p, dsn := newProxy(t, direct)
	pool := newPool(t, dsn, oneConn)
	db := postgres.DB(pool)
	warm(t, db)
	for id := int64(1); ; id++ {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var ended atomic.Int64
		err := db.CommitWith(ctx, func(tx pgx.Tx) ([]sqltx.Statement, error) {
			answered := p.arm(silent)
			go func() {
				<-answered
				ended.Store(time.Now().UnixNano())
				cancel()
			}()
			return []sqltx.Statement{insert(id)}, nil
		})
		took := time.Since(time.Unix(0, ended.Load()))
		if got := ids(t, direct); !slices.Contains(got, id) {
			t.Errorf("the table holds %v", got)
		}
		if errors.Is(err, sqltx.ErrCommitUnknown) && took >= time.Second && id < 10 {
			t.Logf("nobody said so within a second: %v", err)
			warmUp(t, pool)
			continue
		}
		if err != nil {
			t.Errorf("it was committed: %v", err)
		}
		return
	}
}

// The end of a session comes as an error of the server, and says nothing about the commit.
func TestCommitOfASessionThatWasEnded(t *testing.T) {
	dsn := newDatabase(t)
	db := postgres.DB(newPool(t, dsn, oneConn))
	warm(t, db)
	err := db.CommitWith(t.Context(), func(tx pgx.Tx) ([]sqltx.Statement, error) {
		if _, err := tx.Exec(t.Context(), "INSERT INTO t(id) VALUES (1)"); err != nil {
			return nil, err
		}
		sendDirectly(t, dsn, fmt.Sprintf("SELECT pg_terminate_backend(%d, 5000)", tx.Conn().PgConn().PID()))
		return []sqltx.Statement{insert(2)}, nil
	})
	if err == nil || !strings.Contains(err.Error(), "was rolled back") {
		t.Errorf("it was rolled back: %v", err)
	}
	if got := ids(t, dsn); !slices.Equal(got, []int64{-1}) {
		t.Errorf("the table holds %v", got)
	}
}

// guarantees: O3
func TestCommitThroughACrashOfTheServer(t *testing.T) {
	pg := servers.PrivatePostgres(t, nil)
	direct := pg.Database(t)
	sendDirectly(t, direct, tables)
	for i, c := range []struct {
		how  cut
		want []int64
	}{{beforeServer, []int64{-1}}, {afterServer, []int64{-1, 1}}} {
		t.Run(fmt.Sprint(c.how), func(t *testing.T) {
			p, dsn := newProxy(t, direct)
			db := postgres.DB(newPool(t, dsn, oneConn))
			if i == 0 {
				warm(t, db)
			} else {
				warmUp(t, newPool(t, dsn))
				if err := db.CommitWith(t.Context(), func(pgx.Tx) ([]sqltx.Statement, error) {
					return []sqltx.Statement{insert(0), {SQL: "DELETE FROM t WHERE id = 0"}}, nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			crashed := make(chan struct{})
			err := db.CommitWith(t.Context(), func(tx pgx.Tx) ([]sqltx.Statement, error) {
				answered := p.arm(c.how)
				p.refuseAll() // nobody is asked before the crash
				go func() {
					defer close(crashed)
					if c.how == afterServer {
						<-answered
					}
					pg.Restart(t, servers.Immediate)
					p.acceptAll()
				}()
				return []sqltx.Statement{insert(1)}, nil
			})
			<-crashed
			// The number may have been given out again, so "committed" proves nothing after a crash.
			if c.how == afterServer && !errors.Is(err, sqltx.ErrCommitUnknown) {
				t.Errorf("it was committed, which nobody can know: %v", err)
			}
			if c.how == beforeServer && (err == nil || !strings.Contains(err.Error(), "was rolled back") && !errors.Is(err, sqltx.ErrCommitUnknown)) {
				t.Errorf("it was rolled back: %v", err)
			}
			if got := ids(t, direct); !slices.Equal(got, c.want) {
				t.Errorf("the table holds %v, want %v", got, c.want)
			}
		})
	}
}

// A server that comes back from a crash gives numbers out again that had not reached its log: the lost transaction's
// number then belongs to another one, which commits.
//
// guarantees: O3, R3
func TestCommitIsNotTakenForThatOfTheNumbersNextOwner(t *testing.T) {
	t.Run("restart", func(t *testing.T) {
		nextOwner(t, func(pg *servers.PostgresServer, _ string) { pg.Restart(t, servers.Immediate) })
	})
	// The postmaster survives, so that its start tells nothing.
	t.Run("one session is killed", func(t *testing.T) {
		nextOwner(t, func(_ *servers.PostgresServer, dsn string) { killSession(t, dsn) })
	})
}

// killSession kills a session of its own, upon which PostgreSQL ends all others and recovers, and waits for that.
func killSession(t *testing.T, dsn string) {
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Error(err)
		return
	}
	witness, err := pgx.Connect(t.Context(), dsn) // whose session ends when the server has noticed
	if err != nil {
		t.Error(err)
		return
	}
	defer witness.Close(context.Background())
	var started, again time.Time
	if err := conn.QueryRow(t.Context(), "SELECT pg_postmaster_start_time()").Scan(&started); err != nil {
		t.Error(err)
	}
	victim, err := os.FindProcess(int(conn.PgConn().PID()))
	if err == nil {
		err = victim.Kill()
	}
	if err != nil {
		t.Error(err)
	}
	_ = conn.PgConn().WaitForNotification(t.Context()) // until the connection is gone
	_ = witness.PgConn().WaitForNotification(t.Context())
	conn.Close(context.Background())
	for t.Context().Err() == nil {
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			continue // it recovers
		}
		err = conn.QueryRow(t.Context(), "SELECT pg_postmaster_start_time()").Scan(&again)
		conn.Close(context.Background())
		if err == nil {
			break
		}
	}
	if !started.Equal(again) {
		t.Error("the test is wrong: the postmaster was started again")
	}
}

func nextOwner(t *testing.T, crash func(pg *servers.PostgresServer, dsn string)) {
	pg := servers.PrivatePostgres(t, nil)
	direct := pg.Database(t)
	sendDirectly(t, direct, tables)
	p, dsn := newProxy(t, direct)
	db := postgres.DB(newPool(t, dsn, oneConn))
	warm(t, db)
	var xid uint64
	crashed := make(chan struct{})
	err := db.CommitWith(t.Context(), func(tx pgx.Tx) ([]sqltx.Statement, error) {
		err := tx.QueryRow(t.Context(), "SELECT pg_current_xact_id()").Scan(&xid)
		p.arm(halfOpen) // a session that sees the cut would log the number, by rolling back
		refused := p.refuseAll()
		go func() {
			defer close(crashed)
			<-refused // the connection is lost, and the asking has begun
			crash(pg, direct)
			for range 20 {
				sendDirectly(t, direct, "INSERT INTO t(id) SELECT 100 + count(*) FROM t")
			}
			p.acceptAll()
		}()
		return []sqltx.Statement{insert(1)}, err
	})
	<-crashed // and back: the asking may have ended before
	if slices.Contains(ids(t, direct), 1) {
		t.Fatal("the test is wrong: it was committed")
	}
	if err == nil {
		t.Error("it was not committed")
	}
	var status string
	conn, cerr := pgx.Connect(t.Context(), direct)
	if cerr != nil {
		t.Fatal(cerr)
	}
	defer conn.Close(context.Background())
	if serr := conn.QueryRow(t.Context(), "SELECT pg_xact_status($1::text::xid8)", fmt.Sprint(xid)).Scan(&status); serr != nil || status != "committed" {
		t.Errorf("the test is wrong: the number was not given out again: %q, %v", status, serr)
	}
}
