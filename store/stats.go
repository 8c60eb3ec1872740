package store

import (
	"maps"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// statsCollector puts the answers of several questions together.
type statsCollector struct {
	byClass map[string]*classStats
}

type classStats struct {
	outbox.ClassStats
	partitions [outbox.Partitions]outbox.PartitionStats
}

func (c *statsCollector) class(name string) *classStats {
	if c.byClass == nil {
		c.byClass = map[string]*classStats{}
	}
	if c.byClass[name] == nil {
		c.byClass[name] = &classStats{ClassStats: outbox.ClassStats{Class: name}}
	}
	return c.byClass[name]
}

func (c *statsCollector) rows(r sqltx.Rows) error {
	var class string
	var partition int16
	var pending, age int64
	if err := r.Scan(&class, &partition, &pending, &age); err != nil {
		return err
	}
	cl, oldest := c.class(class), max(0, time.Duration(age)*time.Microsecond)
	cl.Pending += pending
	cl.Oldest = max(cl.Oldest, oldest)
	p := &cl.partitions[partition]
	p.Pending, p.Oldest = pending, oldest
	return nil
}

func (c *statsCollector) owners(r sqltx.Rows) error {
	var class, node string
	var partition int16
	var epoch int64
	if err := r.Scan(&class, &partition, &epoch, &node); err != nil {
		return err
	}
	cl := c.class(class)
	cl.Consumed = true
	p := &cl.partitions[partition]
	p.Owner, p.Epoch = node, epoch
	return nil
}

func (c *statsCollector) nodes(r sqltx.Rows) error {
	var class string
	var n int
	if err := r.Scan(&class, &n); err != nil {
		return err
	}
	c.class(class).Nodes = n
	return nil
}

func (c *statsCollector) stats() (s outbox.Stats) {
	for _, name := range slices.Sorted(maps.Keys(c.byClass)) {
		cl := c.byClass[name]
		for i := range cl.partitions {
			p := &cl.partitions[i]
			p.Partition = int16(i)
			if p.Pending > 0 || p.Owner != "" {
				cl.Partitions = append(cl.Partitions, *p)
			}
		}
		s.Pending += cl.Pending
		s.Oldest = max(s.Oldest, cl.Oldest)
		s.Classes = append(s.Classes, cl.ClassStats)
	}
	return s
}
