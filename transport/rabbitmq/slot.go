package rabbitmq

import "github.com/sixfold-go/sixfold/bus/driver"

// A slot is one message whose confirm has not come. Its number is the delivery tag.
type slot struct {
	p    *driver.Batch
	i    int
	size int

	topic, key, id string
	mayMiss        bool
	unproven       bool // nothing on this topic had been confirmed yet
	returned       bool // no queue got it
	doubt          bool // a return may have meant it
}
