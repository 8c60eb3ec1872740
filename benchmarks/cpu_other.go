//go:build !unix

package main

import "time"

// cpuTime is not known here; the servers do not run here either.
func cpuTime() time.Duration { return 0 }
