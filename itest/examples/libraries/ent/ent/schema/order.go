// Package schema describes the tables to ent.
package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
)

// Order is the shop's table "orders".
type Order struct{ ent.Schema }

// Fields of an order.
func (Order) Fields() []ent.Field { return []ent.Field{field.String("id")} }
