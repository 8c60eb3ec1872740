// Package compilefail shows that the usual mistakes with a transaction or a mediator do not compile, and what the compiler
// says.
package compilefail

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each directory in testdata holds two packages: wrong, which must not compile with this one error, and right, which
// differs by the cure and compiles.
var says = map[string]string{
	"pgxpool":     `in call to sqltx.Pgx, type *pgxpool.Pool of pool does not match sqltx.pgxTx[T, R] (cannot infer T and R)`,
	"pgxconn":     `in call to sqltx.Pgx, type *pgx.Conn of conn does not match sqltx.pgxTx[T, R] (cannot infer T and R)`,
	"pgxacquired": `in call to sqltx.Pgx, type *pgxpool.Conn of conn does not match sqltx.pgxTx[T, R] (cannot infer T and R)`,
	"stdaspgx":    `in call to sqltx.Pgx, type *sql.Tx of tx does not match sqltx.pgxTx[T, R] (cannot infer T and R)`,
	"sqldb":       `cannot use db (variable of type *sql.DB) as *sql.Tx value in argument to sqltx.Std`,
	"sqldblike":   `*sql.DB does not implement sqltx.LikeTx (missing method Commit)`,
	"sqlconn":     `*sql.Conn does not implement sqltx.LikeTx (missing method Commit)`,
	"sqlx":        `*sqlx.DB does not implement sqltx.LikeTx (missing method Commit)`,
	"bun":         `*bun.DB does not implement sqltx.LikeTx (missing method Commit)`,
	"ent":         `libraries/ent/ent".Client does not implement sqltx.LikeTx (missing method Commit)`,
	"native":      `cannot use tx (variable of interface type pgx.Tx) as sqltx.Tx value in argument to box.Publish`,
	"nil":         `cannot use nil as sqltx.Tx value in argument to box.Publish`,
	"none":        `not enough arguments in call to box.Publish`,
	"medresult":   `cannot use id (variable of type string) as int value in return statement`,
	"medevent":    `in call to mediator.Send, C (type placed) does not satisfy sixfold.Command[R] (missing method returns)`,
	"medshape":    `type func(context.Context, create) error of h does not match inferred type func(ctx context.Context, c create) (R, error)`,
	"medquery":    `in call to mediator.OnCommand, C (type create) does not satisfy sixfold.Command[R] (wrong type for method returns)`,
	"medtx":       `type func(context.Context, pgx.Tx, placed) error of h does not match inferred type func(ctx context.Context, tx *sql.Tx, m M) error`,
	"flowstate":   `type flow.Task[invoice] of flow.Step("reserve", flow.Do(func(s *invoice) reserve {…})).NoUndo("none") does not match inferred type flow.Part[order] for flow.Part[S]`,
	"flowreply":   `type func(s *order, r reserved) error of func(s *order, r reserved) error {…} does not match inferred type func(s *order, r placed) error for func(s *S, r R) error`,
	"sagatx":      `in call to saga.Define, type saga.Step[pgx.Tx, state] of step does not match inferred type saga.Step[*sql.Tx, S]`,
	"sagamessage": `type func(context.Context, pgx.Tx, *state, paid, *saga.Effects) error of h does not match inferred type func(ctx context.Context, tx pgx.Tx, s *state, m placed, fx *saga.Effects) error`,
	"nomessage":   `struct{ID string} does not implement sixfold.Message (missing method MessageName)`,
}

func TestMistakesDoNotCompile(t *testing.T) {
	dirs, err := filepath.Glob("testdata/*")
	if err != nil || len(dirs) != len(says) {
		t.Fatalf("%d directories for %d cases, %v", len(dirs), len(says), err)
	}
	errs := build(t, "wrong")
	for name, want := range says {
		t.Run(name, func(t *testing.T) {
			got := errs[name]
			if !strings.Contains(got, want) {
				t.Errorf("the compiler says\n%s\nwant\n%s", got, want)
			}
			if n := len(position.FindAllString(got, -1)); n != 1 {
				t.Errorf("there are %d errors:\n%s", n, got)
			}
		})
	}
}

func TestTheirTwinsCompile(t *testing.T) {
	for name, err := range build(t, "right") {
		t.Errorf("%s:\n%s", name, err)
	}
}

var (
	position = regexp.MustCompile(`(?m)^\S+\.go:\d+:\d+: `)
	heading  = regexp.MustCompile(`(?m)^# \S+/testdata/([a-z]+)/\w+$`)
)

// build compiles the packages of one kind and answers what the compiler said, by case.
func build(t *testing.T, kind string) map[string]string {
	t.Helper()
	args := []string{"build", "-gcflags=-e"}
	for name := range says {
		args = append(args, "./"+filepath.ToSlash(filepath.Join("testdata", name, kind)))
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false")
	out, err := cmd.CombinedOutput()
	text := string(out)
	found := heading.FindAllStringSubmatchIndex(text, -1)
	if err != nil && len(found) == 0 {
		t.Fatalf("%v\n%s", err, text) // not the compiler's own words
	}
	errs := map[string]string{}
	for i, at := range found {
		end := len(text)
		if i+1 < len(found) {
			end = found[i+1][0]
		}
		errs[text[at[2]:at[3]]] = text[at[1]:end]
	}
	return errs
}
