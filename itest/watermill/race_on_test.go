//go:build race

package watermill

// raced says that the race detector is on.
const raced = true
