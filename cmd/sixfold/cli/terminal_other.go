//go:build !unix

package cli

import "os"

// terminalWidth is 0: other terminals break lines themselves, and COLUMNS counts there too.
func terminalWidth(*os.File) int { return 0 }
