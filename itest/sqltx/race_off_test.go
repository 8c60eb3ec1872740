//go:build !race

package sqltx_test

const raceDetector = false
