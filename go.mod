module github.com/sixfold-go/sixfold

go 1.26
