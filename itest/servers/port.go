package servers

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
)

// freePort returns a loopback port that nobody listens on just now. It lies below the ports that systems hand to outgoing
// connections (32768 and up on Linux, 49152 on others), so that no client takes it while its server restarts. Another
// server may take it before its user does; whoever starts one on it tries again with another.
func freePort() (int, error) {
	const first, last = 15000, 32000
	var err error
	for range 100 {
		port := first + rand.IntN(last-first)
		var l net.Listener
		if l, err = net.Listen("tcp4", loopback(port)); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("servers: find a free loopback port from %d to %d: %w", first, last, err)
}

// freePorts draws as many, of which no two are the same.
func freePorts(n int) ([]int, error) {
	var ports []int
	for len(ports) < n {
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports, nil
}

// loopback returns the address of a port of 127.0.0.1.
func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
