//go:build race

package cli

// million is how many rows are many: SQLite is a Go program here, which the race detector makes slow.
const million = 50_000
