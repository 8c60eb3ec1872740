package schedule

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// schedulerEnv makes this program a scheduler: its value is a driver, a space, and a DSN.
const schedulerEnv = "SIXFOLD_TEST_SCHEDULER"

// beScheduler is the other process of the test below. It promotes until it is killed, or until who started it has ended.
func beScheduler() {
	driver, dsn, ok := strings.Cut(os.Getenv(schedulerEnv), " ")
	if !ok {
		return
	}
	err := func() error {
		db, err := sql.Open(driver, dsn)
		if err != nil {
			return err
		}
		st, err := openers()[driver](sqltx.StdDB(db))
		if err != nil {
			return err
		}
		box, err := outbox.New(st.Outbox(), nil, routes()...)
		if err != nil {
			return err
		}
		// Small batches are many transactions to be killed in.
		s, err := schedule.New(st.Schedule(), box, &schedule.Options{Logger: quiet(), Poll: 100 * time.Millisecond, Batch: 50, OnError: func(error) {}})
		if err != nil {
			return err
		}
		ctx, stop := context.WithCancel(context.Background())
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
		fmt.Println("ready")
		return s.Run(ctx)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// process is a scheduler in a process of its own.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// process starts one, and returns when it is at work.
func (w *world) process() *process {
	w.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), schedulerEnv+"="+w.driver+" "+w.dsn)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(w.T, err)
	stdout, err := cmd.StdoutPipe()
	must(w.T, err)
	must(w.T, cmd.Start())
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		_, _ = cmd.Process.Kill(), cmd.Wait()
		w.Fatalf("a scheduler's process says %q: %v", line, err)
	}
	return &process{cmd, stdin}
}

// kill ends it as a power cut would (SIGKILL).
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed
}

// Two processes that are killed again and again promote each message and each tick once, and none early by the database's
// clock. guarantees: C1, C2, C3
func TestSchedulersAreKilled(t *testing.T) {
	const delayed, schedules = 3000, 12
	lasting, seed := 3*time.Second, uint64(time.Now().UnixNano())
	if testing.Short() {
		lasting = time.Second
	}
	databases(t, func(w *world) {
		if testing.Short() && w.driver == "mysql" {
			w.Skip("-short: the other two show it")
		}
		random := rand.New(rand.NewPCG(seed, 0))
		w.Logf("seed %d", seed)
		w.tx(func(ctx context.Context, tx sqltx.Tx) error {
			for i := range schedules {
				r := schedule.Recurring{Name: fmt.Sprint("s", i), Spec: "every 1s", Message: report{i}, Misfire: schedule.FireAll, MisfireCap: 1000, Grace: time.Millisecond}
				if i%2 == 0 {
					r.Message = reminder{i}
				}
				if _, err := w.s.Upsert(ctx, tx, r); err != nil {
					return err
				}
			}
			// Half of them are due at once, so that promoting them takes a while.
			items := make([]outbox.Item, delayed)
			for i := range items {
				after := time.Millisecond
				if i%2 == 0 {
					after += time.Duration(random.Int64N(int64(lasting)))
				}
				if i%3 == 0 {
					items[i] = outbox.Of(reminder{i}, outbox.Delay(after))
				} else {
					items[i] = outbox.Of(report{i}, outbox.Delay(after))
				}
			}
			_, err := w.box.PublishAll(ctx, tx, items...)
			return err
		})
		due := w.due(delayed)
		first, _, err := w.st.Schedule().Recurring().List(t.Context(), "", schedules)
		must(w.T, err)

		processes := []*process{w.process(), w.process()}
		defer func() {
			for _, p := range processes {
				p.kill()
			}
		}()
		kills := 0
		for end := time.Now().Add(lasting); time.Now().Before(end) || kills < 4; kills++ { // a busy machine starts them slowly
			// The moment of the next death, not a wait for something.
			<-time.After(time.Duration(random.Int64N(int64(150 * time.Millisecond))))
			i := random.IntN(len(processes))
			processes[i].kill()
			processes[i] = w.process()
		}
		w.Logf("%d were killed", kills)

		_, killed, err := w.st.Schedule().Recurring().List(t.Context(), "", 1)
		must(w.T, err)
		w.until("everything is promoted", func() bool {
			es, _, err := w.st.Schedule().Recurring().List(t.Context(), "", schedules)
			must(w.T, err)
			for _, e := range es {
				if !e.Last.After(killed) {
					return false
				}
			}
			left, err := w.st.Schedule().Delayed().List(t.Context(), schedule.DelayedPage{Limit: 1})
			must(w.T, err)
			return len(left) == 0
		})
		for _, p := range processes {
			_ = p.stdin.Close()
			must(w.T, p.cmd.Wait())
		}
		for _, e := range first {
			w.addTicks(due, e)
		}
		w.arrived(due)
	})
}

// due are the times of all messages that wait, by id.
func (w *world) due(n int) map[string]time.Time {
	w.Helper()
	all := make(map[string]time.Time, n)
	page := schedule.DelayedPage{Limit: 1000}
	for {
		rows, err := w.st.Schedule().Delayed().List(w.Context(), page)
		must(w.T, err)
		if len(rows) == 0 {
			break
		}
		for _, r := range rows {
			all[r.ID] = r.At
		}
		page.After, page.AfterN = rows[len(rows)-1].At, rows[len(rows)-1].N
	}
	if len(all) != n {
		w.Fatalf("%d of %d messages wait", len(all), n)
	}
	return all
}

// addTicks adds the occurrences of a schedule, which are one in each second since it was entered.
func (w *world) addTicks(due map[string]time.Time, entered schedule.Entry) {
	w.Helper()
	ticks, err := w.s.Occurrences(w.Context(), entered.Name, time.Time{}, 10_000)
	must(w.T, err)
	if len(ticks) < 2 {
		w.Errorf("%s has had %d occurrences", entered.Name, len(ticks))
	}
	for i, o := range ticks {
		if want := entered.Next.Add(time.Duration(len(ticks)-1-i) * time.Second); !o.Planned.Equal(want) || o.Outcome != schedule.Begins || o.Missed > 0 {
			w.Errorf("%s: planned at %v is %v with %d missed, want %v begun", entered.Name, o.Planned, o.Outcome, o.Missed, want)
			return
		}
		due[o.ID] = o.Planned
	}
}

// arrived checks that the messages of both tables are those that were due, each there once, and none written before its time.
func (w *world) arrived(due map[string]time.Time) {
	w.Helper()
	q := "SELECT id, created_at FROM sixfold_outbox UNION ALL SELECT id, created_at FROM sixfold_local"
	if w.driver == "pgx" {
		micros := "SELECT id::text, (extract(epoch FROM created_at)::numeric * 1000000)::bigint FROM sixfold."
		q = micros + "outbox UNION ALL " + micros + "local"
	}
	rows, err := w.raw.QueryContext(w.Context(), q)
	must(w.T, err)
	defer rows.Close()
	there := map[string]int{}
	twice, early, foreign := 0, 0, 0
	for rows.Next() {
		var id string
		var us int64
		must(w.T, rows.Scan(&id, &us))
		at, wanted := due[id]
		if there[id]++; there[id] == 2 {
			twice++
		}
		if !wanted {
			foreign++
		} else if time.UnixMicro(us).Before(at) {
			early++
		}
	}
	must(w.T, rows.Err())
	lost := 0
	for id := range due {
		if there[id] == 0 {
			lost++
		}
	}
	if lost+twice+early+foreign > 0 {
		w.Errorf("of %d messages %d are lost, %d there more than once, %d early; and %d are nobody's", len(due), lost, twice, early, foreign)
	}
	w.Logf("%d messages", len(due))
}
