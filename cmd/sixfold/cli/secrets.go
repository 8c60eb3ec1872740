package cli

import (
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// secrets are the passwords of this run, which no message may show. Messages are made without them; this is the second line.
type secrets struct{ all []string }

// newSecrets collects what looks like a password in arguments and variables, in every form of a DSN.
func newSecrets(args []string) *secrets {
	s := &secrets{}
	texts := append(slices.Clone(args), os.Getenv("SIXFOLD_DSN"), os.Getenv("SIXFOLD_BROKER"))
	for _, text := range texts {
		s.all = append(s.all, secretsOf(text)...)
	}
	for _, name := range []string{"PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		if p := os.Getenv(name); p != "" {
			s.all = append(s.all, p)
		}
	}
	for _, p := range slices.Clone(s.all) { // as they look in a quoted text
		if q := strconv.Quote(p); len(q) > len(p)+2 {
			s.all = append(s.all, q[1:len(q)-1])
		}
	}
	slices.SortFunc(s.all, func(a, b string) int { return len(b) - len(a) }) // one may be part of another
	return s
}

var (
	inURL   = regexp.MustCompile(`^[^:/]*://(.*)@`)
	inPairs = regexp.MustCompile(`(?i)(?:password|token)\s*=\s*('(?:[^'\\]|\\.)*'?|[^\s&]+)`)
	inLogin = regexp.MustCompile(`^[^:/@\s]+:(.*)@`) // what lacks its scheme
	anyURL  = regexp.MustCompile(`://[^\s/"]*@`)
)

// secretsOf answers the passwords in a DSN or the URL of a broker, also where it cannot be read.
func secretsOf(text string) (all []string) {
	add := func(raw string) {
		if raw == "" {
			return
		}
		all = append(all, raw)
		if plain, err := url.PathUnescape(raw); err == nil && plain != raw {
			all = append(all, plain)
		}
	}
	for part := range strings.SplitSeq(text, ",") { // brokers have several addresses
		if _, after, ok := strings.Cut(part, "--dsn="); ok {
			part = after
		}
		if m := inURL.FindStringSubmatch(part); m != nil {
			if _, password, ok := strings.Cut(m[1], ":"); ok {
				add(password)
			} else if !strings.HasPrefix(part, "postgres") && !strings.HasPrefix(part, "mysql") && !strings.HasPrefix(part, "mariadb") {
				add(m[1]) // a token of NATS
			}
		} else if m := inLogin.FindStringSubmatch(part); m != nil {
			add(m[1])
		}
	}
	for _, m := range inPairs.FindAllStringSubmatch(text, -1) {
		add(strings.NewReplacer(`\'`, `'`, `\\`, `\`).Replace(strings.Trim(m[1], "'")))
		add(m[1])
	}
	return all
}

const hidden = "xxxxx"

// scrub hides the secrets of the run, and whatever stands before the host of a URL, but for the "user" of our own hints.
func (s *secrets) scrub(text string) string {
	for _, p := range s.all {
		if len(p) >= 3 { // shorter ones would hide parts of words
			text = strings.ReplaceAll(text, p, hidden)
		}
	}
	return anyURL.ReplaceAllStringFunc(text, func(before string) string {
		if before == "://user@" {
			return before
		}
		return "://" + hidden + "@"
	})
}
