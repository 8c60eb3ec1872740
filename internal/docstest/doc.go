// Package docstest holds the test that keeps README.md and the pages of docs true: their Go is code of examples that run,
// their SQL is that of scripts that run, their links lead somewhere, and the names that they speak of exist.
package docstest
