package cli

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// columns is how many characters a line may have: what the variable COLUMNS says, else the width of the terminal, else 0, which
// is any number: who reads through a pipe wants lines whole.
func (a *app) columns() int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n >= 20 {
		return n
	}
	if f, ok := a.out.(*os.File); ok {
		return terminalWidth(f)
	}
	return 0
}

// fold breaks a line between words so that it has at most columns characters; a word that is longer stays whole, since people
// copy ids and commands. What stands in a second column, behind two spaces, stays there if it is in the left half.
func fold(line string, columns int) string {
	if columns == 0 || utf8.RuneCountInString(line) <= columns {
		return line
	}
	rest := strings.TrimLeft(line, " ")
	indent := len(line) - len(rest)
	left, right, ok := strings.Cut(rest, "  ")
	if !ok {
		return foldBehind(line[:indent], rest, columns, min(indent+2, columns/2))
	}
	right = strings.TrimLeft(right, " ")
	column := utf8.RuneCountInString(line) - utf8.RuneCountInString(right)
	if column <= columns/2 {
		return foldBehind(line[:len(line)-len(right)], right, columns, column)
	}
	hang := min(indent+4, columns/2)
	return line[:indent] + left + "\n" + foldBehind(strings.Repeat(" ", hang), right, columns, hang)
}

// foldBehind breaks a text that stands behind a head; the other lines begin with that many spaces.
func foldBehind(head, text string, columns, hang int) string {
	at, fresh := utf8.RuneCountInString(head[strings.LastIndexByte(head, '\n')+1:]), true
	if columns == 0 || at+utf8.RuneCountInString(text) <= columns {
		return head + text
	}
	var b strings.Builder
	b.WriteString(head)
	for word := range strings.FieldsSeq(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case fresh:
		case at+1+n <= columns:
			b.WriteByte(' ')
			at++
		default:
			b.WriteString("\n" + strings.Repeat(" ", hang))
			at = hang
		}
		fresh = false
		b.WriteString(word)
		at += n
	}
	return b.String()
}

// foldAll folds each line of a text.
func foldAll(text string, columns int) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = fold(lines[i], columns)
	}
	return strings.Join(lines, "\n")
}

// paragraphs folds a text of paragraphs, whose lines were written for a wide terminal.
func paragraphs(text string, columns int) string {
	parts := strings.Split(text, "\n\n")
	for i := range parts {
		parts[i] = foldBehind("", strings.ReplaceAll(parts[i], "\n", " "), columns, 0)
	}
	return strings.Join(parts, "\n\n")
}

// foldHelp makes the help of all commands as narrow as the terminal.
func (a *app) foldHelp(root *cobra.Command) {
	usual := root.HelpFunc()
	root.SetHelpFunc(func(c *cobra.Command, args []string) {
		columns := a.columns()
		if columns == 0 {
			usual(c, args)
			return
		}
		about := c.Long
		if about == "" {
			about = c.Short
		}
		fmt.Fprint(c.OutOrStdout(), paragraphs(about, columns)+"\n\n"+foldAll(c.UsageString(), columns))
	})
}
