package store

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxIdentifier is PostgreSQL's limit for a name, in bytes; what is longer is cut in silence, so that two names may become one.
const maxIdentifier = 63

// longestObject is the longest name that a migration makes; with the prefix before it, it must fit. A test compares it
// with the migrations.
const longestObject = "outbox_count_suspects"

// names makes the quoted names of one set of tables.
type names struct {
	schema string // empty in SQLite
	prefix string
}

// checkNames says everything that is wrong with a schema and a prefix.
func checkNames(schema, prefix string) error {
	return errors.Join(checkName("Schema", schema, maxIdentifier, ""), checkName("Prefix", prefix, maxIdentifier-len(longestObject), longestObject))
}

// refusedInNames could be quoted, but the names also stand in scripts that people print, edit and paste.
const refusedInNames = "\"'`$;\\[]{}"

func checkName(option, name string, limit int, longest string) error {
	if len(name) > limit {
		why := ""
		if longest != "" {
			why = fmt.Sprintf(" (%q follows it, and a name has at most %d)", longest, maxIdentifier)
		}
		return fmt.Errorf("store: option %s %s: it has %d bytes, the limit is %d%s; shorten it", option, quoteCut(name), len(name), limit, why)
	}
	if !utf8.ValidString(name) {
		return fmt.Errorf("store: option %s %s: it is not valid UTF-8; use letters, digits and underscores", option, quoteCut(name))
	}
	if strings.Contains(name, ".") {
		return fmt.Errorf("store: option %s %s: it contains a dot; give the schema in Schema and the beginning of the table names in Prefix", option, quoteCut(name))
	}
	for _, r := range name {
		if unicode.IsControl(r) || strings.ContainsRune(refusedInNames, r) {
			return fmt.Errorf("store: option %s %s: it contains %q; use letters, digits, underscores, dashes and spaces", option, quoteCut(name), r)
		}
	}
	return nil
}

// quoteCut shows at most 64 bytes of s, with control characters escaped.
func quoteCut(s string) string {
	if len(s) <= 64 {
		return strconv.Quote(s)
	}
	cut := 61
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "…"
}

// bare is the quoted name of an object without its schema.
func (n names) bare(object string) string { return quoteIdentifier(n.prefix + object) }

// of is the quoted name of an object with its schema.
func (n names) of(object string) string {
	if n.schema == "" {
		return n.bare(object)
	}
	return quoteIdentifier(n.schema) + "." + n.bare(object)
}

func quoteIdentifier(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// quoteLiteral is s as a string literal of standard SQL.
func quoteLiteral(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// fill replaces {{object}} by its quoted name, {{bare object}} by the same without the schema, and {{literal object}} by
// a string literal that holds the quoted name. Other braces stay as they are.
func (n names) fill(sql string) string {
	return replaced(sql, "{{", func(rest string) (string, int) {
		end := strings.Index(rest, "}}")
		if end < 0 {
			return "", 0
		}
		kind, object, two := strings.Cut(rest[len("{{"):end], " ")
		if !two {
			kind, object = "", kind
		}
		if object == "" || strings.Trim(object, "abcdefghijklmnopqrstuvwxyz_0123456789") != "" {
			return "", 0
		}
		end += len("}}")
		switch {
		case !two:
			return n.of(object), end
		case kind == "bare":
			return n.bare(object), end
		case kind == "literal":
			return quoteLiteral(n.of(object)), end
		}
		return "", 0
	})
}
