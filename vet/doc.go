// Package vet holds checks of go/analysis for programs that use Sixfold: mistakes that the compiler cannot see and that show
// before the program runs. The command sixfoldvet runs them:
//
//	go install github.com/sixfold-go/sixfold/vet/sixfoldvet@latest
//	go vet -vettool=$(which sixfoldvet) ./...
//
// The analyzers can be part of any driver of go/analysis too.
package vet

import "golang.org/x/tools/go/analysis"

// Analyzers answers all checks.
func Analyzers() []*analysis.Analyzer { return []*analysis.Analyzer{Unhandled} }
