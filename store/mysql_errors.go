package store

import (
	"context"
	"errors"
	"reflect"
)

// Numbers of errors, as MySQL's and MariaDB's references list them.
const (
	myDuplicate   = 1062 // a unique key has the value
	myLockTimeout = 1205 // MariaDB: also what NOWAIT answers
	myDeadlock    = 1213
	myTooBig      = 1153 // a packet larger than max_allowed_packet
	myNoWait      = 3572 // MySQL 8: what NOWAIT answers
)

// mysqlCode is the number of a server's error, or 0. go-sql-driver/mysql has it in the field Number of its error, beside
// SQLState, and without a method, so the field is looked for.
func mysqlCode(err error) int {
	for err != nil {
		if v := reflect.Indirect(reflect.ValueOf(err)); v.Kind() == reflect.Struct {
			n, message := v.FieldByName("Number"), v.FieldByName("Message")
			if n.IsValid() && n.CanUint() && message.IsValid() && message.Kind() == reflect.String {
				return int(n.Uint())
			}
		}
		switch u := err.(type) {
		case interface{ Unwrap() []error }:
			for _, one := range u.Unwrap() {
				if code := mysqlCode(one); code != 0 {
					return code
				}
			}
			return 0
		default:
			err = errors.Unwrap(err)
		}
	}
	return 0
}

// myPassing reports whether err is the infrastructure's own, so that the same may succeed in a new transaction.
func myPassing(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	switch mysqlCode(err) {
	case 0:
		return lostConnection(err)
	case myDeadlock, myLockTimeout, myNoWait,
		1040, 1203, 1226, // too many connections
		1053, 1077, 1927, // shutdown, connection killed
		1158, 1159, 1160, 1161, // packets lost
		1020,       // MariaDB: the record has changed since the snapshot
		1047,       // Galera: not ready for queries
		1290, 1836, // read-only: the primary became a replica
		3101: // group replication rolled the transaction back
		return true
	}
	return false
}

// myDefinite reports whether an error of COMMIT is the server's word that nothing was committed. Of all others it is
// unknown: 1180 for example is what a failing disk answers.
func myDefinite(err error) bool {
	switch mysqlCode(err) {
	case myDeadlock, myLockTimeout, myDuplicate, 1020, 1047, 1290, 1836, 3101:
		return true
	}
	return false
}

// myForbidden reports whether the server does not let this user do it, or does not let it in.
func myForbidden(err error) bool {
	switch mysqlCode(err) {
	case 1044, 1045, 1142, 1143, 1227, 1370, 1698:
		return true
	}
	return false
}

// myBusy reports whether NOWAIT found a lock.
func myBusy(err error) bool {
	code := mysqlCode(err)
	return code == myLockTimeout || code == myNoWait
}
