// Command sixfoldvet checks programs that use Sixfold, as a tool of go vet:
//
//	go vet -vettool=$(which sixfoldvet) ./...
package main

import (
	"golang.org/x/tools/go/analysis/unitchecker"

	"github.com/sixfold-go/sixfold/vet"
)

func main() { unitchecker.Main(vet.Analyzers()...) }
