// Package process names the process for people.
package process

import (
	"os"
	"strconv"
)

// Name is the host and the number of the process: where an attempt failed.
func Name() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown"
	}
	return host + "/" + strconv.Itoa(os.Getpid())
}
