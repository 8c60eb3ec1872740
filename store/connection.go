package store

import (
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"
)

// lostConnection reports whether err, which carries no word of the database's, is a connection that broke.
func lostConnection(err error) bool {
	var n net.Error
	var unsent interface{ SafeToRetry() bool }
	switch {
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return true
	case errors.As(err, &n):
		return true
	case errors.As(err, &unsent):
		return unsent.SafeToRetry()
	}
	return strings.Contains(err.Error(), "conn closed") // pgx, which has no value for it
}
