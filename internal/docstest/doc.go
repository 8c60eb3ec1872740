// Package docstest holds the tests that keep README.md and the other pages true: their Go is code of examples that run, their SQL that of
// scripts that run, their links and paths lead somewhere, the names, options, variables, targets of make, tables, migrations and
// benchmarks that they speak of exist, each package has its place in them, and each promise has tests that cite it. The command
// lines of sixfold in them are tried by the tests of cmd/sixfold/cli.
package docstest
