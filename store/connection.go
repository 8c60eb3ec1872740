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
	// pgx and go-sql-driver/mysql, whose values are theirs
	return strings.Contains(err.Error(), "conn closed") || strings.Contains(err.Error(), "invalid connection")
}
