package nats

import "github.com/sixfold-go/sixfold/bus/driver"

// A slot is one message whose confirm has not come.
type slot struct {
	p *driver.Batch
	i int
	r *route
}
