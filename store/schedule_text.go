package store

import (
	"regexp"
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

var scheduleWord = regexp.MustCompile(`@(at|us|in|ago|id|text)\(([^()]*)\)|@(now|clock|update|skip)\b`)

func (w *scheduleWords) fill(sql string) string {
	return scheduleWord.ReplaceAllStringFunc(sql, func(found string) string {
		p := scheduleWord.FindStringSubmatch(found)
		switch p[1] + p[3] {
		case "at":
			return w.at(p[2])
		case "us":
			return w.us(p[2])
		case "in":
			return w.in(p[2])
		case "ago":
			return w.ago(p[2])
		case "id":
			return w.id(p[2])
		case "text":
			return w.text(p[2])
		case "clock":
			return w.clock
		case "update":
			return w.lock
		case "skip":
			return w.skip
		}
		return w.now
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
	return parameter.ReplaceAllStringFunc(sql, func(p string) string {
		n, _ := strconv.Atoi(p[1:]) // digits
		return "?" + strconv.Itoa(n+by)
	})
}
