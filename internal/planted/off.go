//go:build !planted

package planted

// Compiled says whether this build can plant bugs.
const Compiled = false

// Is reports whether b is switched on.
func Is(Bug) bool { return false }
