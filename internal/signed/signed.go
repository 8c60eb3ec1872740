// Package signed has the name under which the signature of a message travels, and what drivers know of it: packages signature
// and cloudevents, and drivers whose broker drops repeats, share it.
package signed

import "strings"

// Header is the user header, and the CloudEvents attribute, that holds the signature.
const Header = "sixfoldsignature"

// Mark is a part of a message's signature that nobody can know who has not seen the message; empty: it has none. It belongs into what a
// broker tells repeats by: else a message of the same id that somebody sends first has the real one dropped.
func Mark(headers map[string]string) string {
	if len(headers) == 0 {
		return ""
	}
	const bits128 = 22 // characters of base64
	parts := strings.SplitN(headers[Header], ":", 5)
	if len(parts) < 5 || len(parts[3]) < bits128 || strings.ContainsFunc(parts[3], func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '/' || c == '#' }) {
		return ""
	}
	return parts[3][:bits128]
}
