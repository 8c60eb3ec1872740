package cli_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/cmd/sixfold/cli"
)

// What a hint tells to write can be read, and what was written stays hidden.
func TestHintsShowTheirUser(t *testing.T) {
	t.Setenv("SIXFOLD_DSN", "")
	for _, c := range []struct {
		args        []string
		shows, hide string
	}{
		{[]string{"doctor"}, "postgres://user@host/database, mysql://user@host/database", "xxxxx"},
		{[]string{"doctor", "--dsn", "postgres://ada:pass@ho st/shop"}, "postgres://user@host/database", "ada"},
	} {
		var out, messages bytes.Buffer
		code := cli.Main(c.args, nil, &out, &messages)
		if text := messages.String(); code != 2 || !strings.Contains(text, c.shows) || strings.Contains(text, c.hide) {
			t.Errorf("%q ended with %d and said:\n%s", c.args, code, text)
		}
	}
}
