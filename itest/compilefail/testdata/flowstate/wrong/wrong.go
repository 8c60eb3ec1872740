// Package wrong has a step whose function is for the state of another flow.
package wrong

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

func define(box *saga.Box[*sql.Tx]) (*flow.Flow[*sql.Tx, order], error) {
	return flow.New("f", box, nil, flow.Begin(placed.id, func(s *order, m placed) error { s.ID = m.ID; return nil }),
		flow.Step("reserve", flow.Do(func(s *invoice) reserve { return reserve{s.ID} })).NoUndo("none"))
}

var _ = reserved.id
