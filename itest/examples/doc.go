// Package examples holds the examples of the documentation that need a database: README.md and docs/*.md show parts of
// these files, word for word (package internal/docstest compares them), and the tests here run them. Each concept is one
// file; quickstart is a whole program.
package examples
