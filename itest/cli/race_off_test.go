//go:build !race

package cli

// million is how many rows are many.
const million = 1_000_000
