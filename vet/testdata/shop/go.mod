module example.com/shop

go 1.26.0

require github.com/sixfold-go/sixfold v0.0.0

replace github.com/sixfold-go/sixfold => ../../..
