// Package archtest holds the test that keeps the import graph in order: which package may import which, and that the root
// module imports nothing but the standard library. The rules are the table in edges_test.go.
package archtest
