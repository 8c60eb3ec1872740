package sqltx

import (
	"database/sql"
	"errors"
	"reflect"
)

var errBun = errors.New("sqltx: a bun.Tx drops the arguments of queries without '?'; pass sqltx.Std(tx.Tx), the *sql.Tx inside it")

// isBun knows bun.Tx by two methods of its own, since its type cannot be named here.
func isBun(tx LikeTx) bool {
	t := reflect.TypeOf(tx)
	if t == reflect.TypeFor[*sql.Tx]() {
		return false
	}
	_, a := t.MethodByName("NewSelect")
	_, b := t.MethodByName("NewRaw")
	return a && b
}
