package store

import (
	"strconv"
	"strings"
)

// scheduleWords are what a dialect puts in the place of words in a statement of the scheduler. Those with an argument are given it.
type scheduleWords struct {
	now   string              // @now: the database's clock, the same in a whole statement
	clock string              // @clock: that in microseconds since 1970
	at    func(string) string // @at(x): the time of a parameter in microseconds
	us    func(string) string // @us(x): the microseconds of a column
	in    func(string) string // @in(x): now and a parameter of microseconds; @ago(x): now without it
	ago   func(string) string
	id    func(string) string // @id(x): a parameter for a column of ids; @text(x): the opposite
	text  func(string) string
	lock  string // @update: locks the row; @skip: locks those rows that nobody else has
	skip  string
}

// fill replaces the words. What only looks like one stays as it is.
func (w *scheduleWords) fill(sql string) string {
	return replaced(sql, "@", func(rest string) (string, int) {
		end := 1
		for end < len(rest) && isWord(rest[end]) {
			end++
		}
		var of func(string) string
		switch rest[1:end] {
		case "now":
			return w.now, end
		case "clock":
			return w.clock, end
		case "update":
			return w.lock, end
		case "skip":
			return w.skip, end
		case "at":
			of = w.at
		case "us":
			of = w.us
		case "in":
			of = w.in
		case "ago":
			of = w.ago
		case "id":
			of = w.id
		case "text":
			of = w.text
		}
		if of == nil || end == len(rest) || rest[end] != '(' {
			return "", 0
		}
		arg := rest[end+1:]
		closing := strings.IndexAny(arg, "()")
		if closing < 0 || arg[closing] != ')' {
			return "", 0
		}
		return of(arg[:closing]), end + 1 + closing + 1
	})
}

// same is for words that need nothing.
func same(x string) string { return x }

// onConflict are the ends of an INSERT in PostgreSQL and SQLite.
func onConflictUpdate(key string, columns []string) string {
	sets := make([]string, len(columns))
	for i, c := range columns {
		sets[i] = c + " = excluded." + c
	}
	return " ON CONFLICT (" + key + ") DO UPDATE SET " + strings.Join(sets, ", ")
}

func onConflictNothing(key string) string { return " ON CONFLICT (" + key + ") DO NOTHING" }

// shifted is sql with its parameters counted from by on.
func shifted(sql string, by int) string {
	if by == 0 {
		return sql
	}
	return parameters(sql, func(n int) string { return "?" + strconv.Itoa(n+by) })
}
