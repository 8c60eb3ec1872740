package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/cmd/sixfold/cli"
)

// help is what a command says of itself when --help stands behind its arguments, which are checked like any others.
type help struct {
	code     int
	text     string
	messages string
	path     string   // of the command that speaks
	below    []string // commands below it
}

var (
	usage = regexp.MustCompile(`(?m)^Usage:\n  (sixfold(?: [a-z][a-z-]*)*)`)
	below = regexp.MustCompile(`(?m)^  ([a-z-]+) `)
)

func helpOf(args ...string) help {
	var out, messages bytes.Buffer
	h := help{code: cli.Main(append(slices.Clone(args), "--help"), nil, &out, &messages)}
	h.text, h.messages = out.String(), messages.String()
	if m := usage.FindStringSubmatch(h.text); m != nil {
		h.path = m[1]
	} else if len(args) > 0 && args[0] == "demo" { // it reads its own flags, and says so on stderr
		h.path = "sixfold demo"
	}
	if _, list, ok := strings.Cut(h.text, "Available Commands:\n"); ok {
		list, _, _ = strings.Cut(list, "\n\n")
		for _, m := range below.FindAllStringSubmatch(list, -1) {
			h.below = append(h.below, m[1])
		}
	}
	return h
}

// paths are the commands that have none below them, as they are typed.
func paths(at ...string) (all []string) {
	h := helpOf(at...)
	if len(h.below) == 0 {
		return []string{strings.Join(at, " ")}
	}
	for _, name := range h.below {
		switch {
		case len(at) == 0 && name == "help":
		case len(at) == 0 && name == "completion": // one for each shell
			all = append(all, name)
		default:
			all = append(all, paths(append(slices.Clone(at), name)...)...)
		}
	}
	return all
}

var (
	code  = regexp.MustCompile("`[^`\n]+`")
	words = regexp.MustCompile(`"[^"]*"|'[^']*'|[^\s"']+`)
	upper = regexp.MustCompile(`^[A-Z]+$`)
)

// typed are the words of a command line, up to a pipe or a comment. What stands for something else stands for 1 here.
func typed(line string) (args []string) {
	for _, word := range words.FindAllString(line, -1) {
		switch {
		case word == "|" || word == "#" || word == "&&" || word == ">":
			return args
		case word == "…":
		case upper.MatchString(word):
			args = append(args, "1")
		default:
			args = append(args, strings.Trim(word, `"'`))
		}
	}
	return args
}

// try runs a command line of the documentation with --help, which takes no argument for what it is not and does nothing.
func try(t *testing.T, page, line string) {
	t.Helper()
	args := typed(line)
	h := helpOf(args...)
	if h.code != 0 || h.path == "" {
		t.Errorf("%s says %q, which is not understood: %s", page, line, h.messages)
		return
	}
	if len(h.below) > 0 { // a command that only has others below it, which may stand for all of them, takes no argument
		if rest := args[strings.Count(h.path, " "):]; len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
			t.Errorf("%s says %q, and %q has no %s", page, line, h.path, rest[0])
		}
	}
}

func documentation(t *testing.T) map[string]string {
	t.Helper()
	root := filepath.Join("..", "..", "..")
	all := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all[filepath.Base(path)] = strings.ReplaceAll(string(text), "\r\n", "\n")
		}
	}
	return all
}

// Each command line of the documentation is one that this program takes, with its flags.
func TestCommandsOfTheDocumentation(t *testing.T) {
	first := helpOf().below
	assigned := regexp.MustCompile(`^(?:\w+=(?:'[^']*'|\S+) )+`)
	found := 0
	for page, text := range documentation(t) {
		for line := range strings.Lines(text) {
			rest, ok := strings.CutPrefix(assigned.ReplaceAllString(strings.TrimSpace(line), ""), "sixfold ")
			if ok && slices.Contains(first, strings.Fields(rest)[0]) {
				try(t, page, rest)
				found++
			}
			for _, span := range code.FindAllString(line, -1) {
				span = strings.Trim(span, "`")
				rest, ok := strings.CutPrefix(span, "sixfold ")
				if page == "cli.md" && !ok && slices.Contains(first, strings.Fields(span + " -")[0]) {
					rest, ok = span, true
				}
				if ok && !strings.HasPrefix(rest, "signature ") { // the label of what is signed
					for line := range strings.SplitSeq(rest, "|") { // one in place of the other, as in list|show
						try(t, page, commandLike(rest, line))
					}
					found++
				}
			}
		}
	}
	if found < 60 {
		t.Errorf("the documentation has %d command lines; are they looked for as they are written?", found)
	}
}

// commandLike is a command that is given as the last of several, like "show" of "saga list|show".
func commandLike(all, one string) string {
	before, _, several := strings.Cut(all, "|")
	if !several || one == before {
		return one
	}
	return before[:strings.LastIndexByte(before, ' ')+1] + one
}

// The page of the command line has each command.
func TestEveryCommandIsDocumented(t *testing.T) {
	first := helpOf().below
	lines := map[string]bool{}
	for line := range strings.Lines(documentation(t)["cli.md"]) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		group := ""
		for _, span := range code.FindAllString(cells[1], -1) {
			args := typed(strings.Trim(span, "`"))
			if slices.Contains(first, args[0]) {
				group = args[0]
			} else if group != "" { // the name of the group is left out
				args = append([]string{group}, args...)
			}
			if group != "" {
				try(t, "cli.md", strings.Join(args, " "))
				lines[strings.TrimPrefix(helpOf(args...).path, "sixfold ")] = true
			}
		}
	}
	all := paths()
	if len(all) < 30 {
		t.Fatalf("there are %d commands; are they looked for as the help has them?", len(all))
	}
	for _, command := range all {
		if !lines[command] {
			t.Errorf("the table of cli.md lacks %q", command)
		}
	}
}
