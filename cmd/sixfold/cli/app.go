// Package cli is the command sixfold, as a function, so that tests can run it.
package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/examples/demo/demo"
)

// app is one run of the command.
type app struct {
	stdin    io.Reader
	out      io.Writer // results, and nothing else
	err      io.Writer // messages
	secrets  *secrets
	dsn      string
	broker   string
	schema   string
	prefix   string
	format   string
	insecure bool
	timeout  time.Duration

	sagas  []Saga                     // of Sagas
	routes map[string][]sixfold.Route // of Routes, by consumer
}

// Main runs the command with its arguments and answers the exit code: 0 done, 1 failed, 2 used wrongly, 3 cannot connect,
// 4 refused for safety. SIGINT and SIGTERM end it in order.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, opts ...Option) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if demo.IsChild() { // the demo starts its relays by running this program again
		return demo.Main(ctx, demo.Databases(), nil, stdout, stderr)
	}
	a := &app{stdin: stdin, out: stdout, err: stderr, secrets: newSecrets(args)}
	for _, o := range opts {
		o(a)
	}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return a.end(root.ExecuteContext(ctx))
}

// root is the command with all others below it.
func (a *app) root() *cobra.Command {
	root := a.group("sixfold", "look after the tables of Sixfold, what is in them, and the topics of a broker",
		a.demoCommand(), a.migrateCommand(), a.grantsCommand(), a.doctorCommand(), a.outboxCommand(), a.deadCommand(), a.parkedCommand(), a.explainCommand(), a.scheduleCommand(), a.sagaCommand(), a.checkCommand(), a.busCommand(), a.versionCommand())
	root.Long = `Look after the tables of Sixfold and what is in them (messages on their way, dead letters, schedules,
sagas), and after the topics of a broker.

The database is that of --dsn or SIXFOLD_DSN: postgres://user@host/database?sslmode=verify-full,
"host=... dbname=..." as libpq takes it, mysql://user@host/database, or sqlite:path. The broker is that of --broker or
SIXFOLD_BROKER: nats://host:4222 or tls://host:4222, amqp://host/vhost or amqps://host/vhost,
kafka://host:9092, sqs://region (with credentials from AWS's own places), or the DSN of a database.
Passwords belong into the variables, not into arguments, which every user of the machine can
read.

Exit codes: 0 done, 1 failed, 2 used wrongly, 3 cannot connect, 4 refused for safety.`
	root.SilenceErrors, root.SilenceUsage = true, true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usage(flagText(err), "see "+c.CommandPath()+" --help") })
	root.PersistentPreRunE = func(c *cobra.Command, _ []string) error { return a.checkGlobals(c) }
	f := root.PersistentFlags()
	f.StringVar(&a.dsn, "dsn", "", "database `DSN` (or the variable SIXFOLD_DSN)")
	f.StringVar(&a.broker, "broker", "", "`URL` of the broker (or the variable SIXFOLD_BROKER)")
	f.StringVar(&a.schema, "schema", "", "`schema` of the tables (\"sixfold\" when empty); on MySQL a database (that of the DSN when empty)")
	f.StringVar(&a.prefix, "prefix", "", "`prefix` of the tables' names (MySQL and SQLite: \"sixfold_\" when empty)")
	f.StringVar(&a.format, "format", "text", "text or json")
	f.BoolVar(&a.insecure, "insecure", false, "allow connections without TLS to other hosts")
	f.DurationVar(&a.timeout, "timeout", 10*time.Second, "how long connecting may take")
	a.foldHelp(root)
	return root
}

// group is a command that only has others below it.
func (a *app) group(use, short string, below ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, SuggestionsMinimumDistance: 2}
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			c.SetOut(a.err)
			_ = c.Help()
			return usage("there is no command", "name one of those above")
		}
		hint := "see " + c.CommandPath() + " --help"
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean " + strings.Join(near, " or ") + "?"
		}
		return usage(fmt.Sprintf("unknown command %s of %s", quote(args[0]), c.CommandPath()), hint)
	}
	c.AddCommand(below...)
	return c
}

// checkGlobals looks at the flags that all commands have.
func (a *app) checkGlobals(c *cobra.Command) error {
	if a.format != "text" && a.format != "json" {
		bad := a.format
		a.format = "text"
		return usage("--format "+quote(bad)+": it is none of text and json", "write --format json, or leave it out")
	}
	if a.timeout <= 0 {
		return usage(fmt.Sprintf("--timeout %v: it is not positive", a.timeout), "write --timeout 10s, or leave it out")
	}
	for flag, variable := range map[string]string{"dsn": "SIXFOLD_DSN", "broker": "SIXFOLD_BROKER"} {
		if f := c.Flags().Lookup(flag); f != nil && f.Changed && len(secretsOf(f.Value.String())) > 0 {
			a.warn("the password in --" + flag + " can be read by every user of this machine; put it into the variable " + variable)
		}
	}
	return nil
}

// warn writes a line to stderr.
func (a *app) warn(text string) {
	text = a.secrets.scrub(text)
	if a.format == "json" {
		line, _ := json.Marshal(map[string]string{"warning": text})
		fmt.Fprintf(a.err, "%s\n", line)
		return
	}
	fmt.Fprintln(a.err, fold("sixfold: warning: "+text, a.columns()))
}

// end reports how the command ended.
func (a *app) end(err error) int {
	if err == nil {
		return 0
	}
	f := asFailure(err)
	f.Message, f.Hint = a.secrets.scrub(f.Message), a.secrets.scrub(f.Hint)
	if a.format == "json" {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(f)
		_, _ = a.err.Write(b.Bytes())
		return f.Code
	}
	fmt.Fprintln(a.err, foldAll("sixfold: "+f.Message, a.columns()))
	if f.Hint != "" {
		fmt.Fprintln(a.err, foldAll("  "+f.Hint, a.columns()))
	}
	return f.Code
}

// flagText says what is wrong with a flag without showing what else stood in the argument.
func flagText(err error) string {
	text, _, _ := strings.Cut(err.Error(), " in -")
	if before, _, ok := strings.Cut(text, ": strconv."); ok {
		text = before + ": it is not a whole number"
	}
	if before, _, ok := strings.Cut(text, ": time:"); ok {
		text = before + ": it is not a duration like 10s or 5m"
	}
	return text
}

// interrupted reports whether the user ended the command.
func interrupted(ctx context.Context) bool {
	return errors.Is(ctx.Err(), context.Canceled)
}
