//go:build race

package sqltx_test

// The race detector allocates, and empties pools.
const raceDetector = true
