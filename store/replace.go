package store

import (
	"strconv"
	"strings"
)

// Statements are written once for all dialects and names, and a store fills in hundreds of them when it is made: by hand, since regular expressions took
// most of that time.

// replaced is sql with each place that begins with mark replaced, where with says by what and how many bytes of what is there, mark
// included, that takes the place of. 0: the mark stays.
func replaced(sql, mark string, with func(rest string) (string, int)) string {
	at := strings.Index(sql, mark)
	if at < 0 {
		return sql
	}
	var b strings.Builder
	b.Grow(len(sql) + len(sql)/4)
	for at >= 0 {
		b.WriteString(sql[:at])
		sql = sql[at:]
		by, n := with(sql)
		if n == 0 {
			by, n = sql[:1], 1 // the mark may begin again within itself
		}
		b.WriteString(by)
		sql = sql[n:]
		at = strings.Index(sql, mark)
	}
	b.WriteString(sql)
	return b.String()
}

// parameters is sql with its parameters ?1, ?2 and so on replaced.
func parameters(sql string, by func(n int) string) string {
	return replaced(sql, "?", func(rest string) (string, int) {
		end := 1
		for end < len(rest) && rest[end] >= '0' && rest[end] <= '9' {
			end++
		}
		n, err := strconv.Atoi(rest[1:end])
		if err != nil {
			return "", 0
		}
		return by(n), end
	})
}

// dollars is sql with its parameters in PostgreSQL's form.
func dollars(sql string) string {
	return parameters(sql, func(n int) string { return "$" + strconv.Itoa(n) })
}

// isWord reports whether c is a letter, digit or underscore.
func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}
