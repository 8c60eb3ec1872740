package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/deadletter"
)

func (a *app) deadEdit() *cobra.Command {
	var m messageFlags
	var e deadletter.Edit
	var noHeaders, noBody, yes bool
	c := &cobra.Command{Use: "edit N --yes", Short: "change body, headers or type of a parked message; both versions are kept", Args: oneArgument("the number or the id of a message"),
		Long: `Change body, headers or type of a parked message. Both versions are kept in the audit: sixfold
dead show N --body shows them. A message that a consumer has in hand is left as it is.`}
	f := c.Flags()
	f.StringVar(&m.data, "data", "", "the new body")
	f.StringVar(&m.file, "file", "", "`path` of a file with the new body; - is standard input")
	f.BoolVar(&noBody, "no-body", false, "let it have no body")
	f.StringArrayVar(&m.headers, "header", nil, "`name=value`, may be repeated; these replace all headers")
	f.BoolVar(&noHeaders, "no-headers", false, "remove all headers")
	f.StringVar(&e.Type, "type", "", "the new `type`")
	f.StringVar(&e.ContentType, "content-type", "", "how the new body is encoded")
	f.StringVar(&e.Who, "who", "", "`who` does it, for the audit (the user and host when empty)")
	f.StringVar(&e.Reason, "why", "", "the `reason`, for the audit")
	f.BoolVar(&yes, "yes", false, "yes, change it")
	c.RunE = func(c *cobra.Command, args []string) error {
		var err error
		if e.SetBody = noBody || m.file != "" || c.Flags().Changed("data"); e.SetBody && !noBody {
			if e.Body, err = m.body(c, a.stdin); err != nil {
				return err
			}
		}
		if noHeaders || len(m.headers) > 0 {
			e.Headers = map[string]string{}
		}
		for _, h := range m.headers {
			name, value, ok := strings.Cut(h, "=")
			if !ok {
				return usage("--header "+quote(name)+": it has no \"=\"", "write --header name=value")
			}
			e.Headers[name] = value
		}
		if !e.SetBody && e.Headers == nil && e.Type == "" && e.ContentType == "" {
			return usage("nothing is to be changed", "give --data, --file, --header or --type")
		}
		if err := needYes(yes, "changing a message"); err != nil {
			return err
		}
		letters, db, err := a.openLetters(c.Context())
		if err != nil {
			return err
		}
		defer db.close()
		ns, err := numbers(c.Context(), letters, args, deadletter.All)
		if err != nil {
			return err
		}
		if len(ns) > 1 {
			return failedWith(fmt.Sprintf("%d parked messages have the id %s", len(ns), quote(args[0])), "give the number of one of them; sixfold dead show lists them")
		}
		e.Who = doer(e.Who)
		if err := letters.Edit(c.Context(), ns[0], e); err != nil {
			return letterError(err)
		}
		if a.format == "json" {
			return a.json(map[string]any{"n": ns[0], "changed": true})
		}
		return a.line("changed message %d; both versions are in the audit", ns[0])
	}
	return c
}
