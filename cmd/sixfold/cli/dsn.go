package cli

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// dsn is where a database is, without having asked it anything.
type dsn struct {
	text  string
	kind  string     // postgres, mysql or sqlite
	path  string     // of SQLite
	query url.Values // of SQLite
}

// schemes that a DSN may have, the usual ones first.
var schemes = []string{"postgres", "postgresql", "mysql", "mariadb", "sqlite"}

// parseDSN looks at --dsn or SIXFOLD_DSN. Its errors never show more than scheme, host and port.
func (a *app) parseDSN() (dsn, error) {
	text := a.dsn
	if text == "" {
		text = os.Getenv("SIXFOLD_DSN")
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return dsn{}, usage("there is no DSN of a database", "give --dsn, or set SIXFOLD_DSN, to postgres://user@host/database, mysql://user@host/database or sqlite:path")
	}
	scheme, rest, isURL := strings.Cut(text, "://")
	if path, ok := strings.CutPrefix(text, "sqlite:"); ok {
		return parseSQLite(strings.TrimPrefix(path, "//"))
	}
	switch {
	case isURL && (scheme == "postgres" || scheme == "postgresql"):
		return dsn{text: text, kind: "postgres"}, checkURL("DSN", rest)
	case isURL && (scheme == "mysql" || scheme == "mariadb") || isDriverForm(text):
		_, err := parseMySQL(text)
		return dsn{text: text, kind: "mysql"}, err
	case isURL && isWord(scheme):
		return dsn{}, unknownScheme("DSN", scheme, schemes)
	case !isURL && strings.Contains(text, "="):
		return dsn{text: text, kind: "postgres"}, checkPairs(text)
	}
	return dsn{}, usage("the DSN has no scheme", "write postgres://user@host/database, mysql://user@host/database, or sqlite:path for a file")
}

func isWord(s string) bool {
	return s != "" && len(s) <= 20 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789+-") == ""
}

// unknownScheme names the nearest one, if one is near.
func unknownScheme(what, scheme string, known []string) error {
	hint := "use " + strings.Join(known, ", ")
	for _, k := range known {
		if distance(strings.ToLower(scheme), k) <= 3 {
			hint = "did you mean " + k + "://?"
			break
		}
	}
	return usage("the scheme "+quote(scheme)+" of the "+what+" is unknown", hint)
}

// distance is how many letters have to change (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost = 1 + min(last, row[j], row[j+1])
			}
			last, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// checkURL looks at what follows "://". A password with characters that end the part before the host makes the rest
// unreadable, and is the usual mistake.
func checkURL(what, rest string) error {
	unescaped := usage("a user or password in the "+what+" has one of @ : / # ? % as it is", `write them as %40 %3A %2F %23 %3F %25`)
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority = rest[:i]
		path, _, _ := strings.Cut(rest[i:], "?")
		if strings.Contains(path, "@") && !strings.Contains(authority, "@") {
			return unescaped
		}
	}
	if strings.Count(authority, "@") > 1 {
		return unescaped
	}
	userinfo, hosts, ok := strings.Cut(authority, "@")
	if !ok {
		userinfo, hosts = "", authority
	}
	if _, err := url.PathUnescape(userinfo); err != nil {
		return unescaped
	}
	if _, err := url.Parse("x://" + userinfo + "@host"); userinfo != "" && err != nil {
		return unescaped
	}
	for h := range strings.SplitSeq(hosts, ",") {
		if err := checkHost(what, h); err != nil {
			return err
		}
	}
	return nil
}

// checkHost looks at host:port.
func checkHost(what, h string) error {
	if strings.HasPrefix(h, "[") {
		host, port, err := net.SplitHostPort(h)
		if err != nil {
			host, port = strings.Trim(h, "[]"), ""
		}
		if net.ParseIP(host) == nil {
			return usage("the host "+quote(h)+" of the "+what+" is no IPv6 address", "write it like [2001:db8::1]:5432")
		}
		return checkPort(what, port, port == "")
	}
	if strings.Count(h, ":") > 1 {
		return usage("the host "+quote(h)+" of the "+what+" has several colons", "write an IPv6 address in brackets, like [2001:db8::1]:5432")
	}
	_, port, given := strings.Cut(h, ":")
	return checkPort(what, port, !given)
}

func checkPort(what, port string, absent bool) error {
	if absent {
		return nil
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return usage("the port "+quote(port)+" of the "+what+" is not a number from 1 to 65535", "write it like :5432")
	}
	return nil
}

// checkPairs looks at the port of a DSN in libpq's form.
func checkPairs(text string) error {
	pairs, err := splitPairs(text)
	if err != nil {
		return err
	}
	for port := range strings.SplitSeq(pairs["port"], ",") {
		if err := checkPort("DSN", port, port == ""); err != nil {
			return err
		}
	}
	return nil
}

// splitPairs reads libpq's form: key = value, with values in single quotes where they have spaces, and backslashes as escapes
// (PostgreSQL manual, section 34.1.1.1).
func splitPairs(text string) (map[string]string, error) {
	pairs := map[string]string{}
	for i := 0; ; {
		for i < len(text) && text[i] == ' ' {
			i++
		}
		if i == len(text) {
			return pairs, nil
		}
		eq := strings.IndexByte(text[i:], '=')
		if eq < 0 {
			return nil, usage("the DSN has a word without \"=\"", "put values with spaces into single quotes, like password='a b'")
		}
		key := strings.TrimSpace(text[i : i+eq])
		i += eq + 1
		for i < len(text) && text[i] == ' ' {
			i++
		}
		var value strings.Builder
		quoted := i < len(text) && text[i] == '\''
		if quoted {
			i++
		}
		for ; i < len(text) && (quoted && text[i] != '\'' || !quoted && text[i] != ' '); i++ {
			if text[i] == '\\' && i+1 < len(text) {
				i++
			}
			value.WriteByte(text[i])
		}
		if quoted && i == len(text) {
			return nil, usage("the DSN has a single quote that is not closed", `close it, and write a quote inside as \'`)
		}
		if quoted {
			i++
		}
		pairs[key] = value.String()
	}
}

// parseSQLite looks at what follows "sqlite:".
func parseSQLite(text string) (dsn, error) {
	path, query, _ := strings.Cut(text, "?")
	values, err := url.ParseQuery(query)
	switch {
	case err != nil:
		return dsn{}, usage("the parameters behind the path of the DSN cannot be read", "write them like sqlite:app.db?mode=ro")
	case path == "":
		return dsn{}, usage("the DSN names no file", "write sqlite:path")
	case path == ":memory:" || values.Get("mode") == "memory":
		return dsn{}, usage("the DSN names a database in memory, which is another one for each process", "write sqlite:path, with a file")
	}
	return dsn{kind: "sqlite", path: path, query: values}, nil
}

// loopback reports whether a host is this machine, or a socket of it.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || ip != nil && ip.IsLoopback()
}

// plaintext refuses, or warns of, a connection that others can read.
func (a *app) plaintext(what, host, how string) error {
	if a.insecure {
		a.warn("the connection to " + host + " is not encrypted; " + how)
		return nil
	}
	return refused(fmt.Sprintf("the connection of %s to %s may go unencrypted over the network", what, host), how+", or add --insecure")
}
