//go:build planted

package planted

import "os"

// Compiled says whether this build can plant bugs.
const Compiled = true

// Is reports whether b is switched on.
func Is(b Bug) bool { return b != "" && os.Getenv("SIXFOLD_PLANT") == string(b) }
