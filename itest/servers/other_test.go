//go:build !unix

package servers_test

import "testing"

// Where no child server runs, none is signalled.
func alive(int) bool { return false }

func kill(*testing.T, int) {}

func freeze(*testing.T, int) {}
