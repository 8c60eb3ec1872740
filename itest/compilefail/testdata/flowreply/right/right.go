// Package right has a reply whose functions are for one message.
package right

import (
	"database/sql"

	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
)

type order struct{ ID string }

type invoice struct{ ID string }

type placed struct{ ID string }

func (placed) MessageName() string { return "shop.placed" }

func (m placed) id() string { return m.ID }

type reserve struct{ ID string }

func (reserve) MessageName() string { return "stock.reserve" }

type reserved struct{ ID string }

func (reserved) MessageName() string { return "stock.reserved" }

func (m reserved) id() string { return m.ID }

func step() flow.Task[order] {
	return flow.Step("reserve", flow.Do(func(s *order) reserve { return reserve{s.ID} }),
		flow.Then(reserved.id, func(s *order, r reserved) error { return nil })).NoUndo("none")
}

var (
	_ = placed.id
	_ saga.Status
	_ *sql.Tx
	_ invoice
)
