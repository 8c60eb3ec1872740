package store

import (
	"context"
	"sync/atomic"

	"github.com/sixfold-go/sixfold/sqltx"
)

// myLimit is how many bytes of rows a statement may have.
type myLimit struct {
	ask  string
	size *atomic.Int64 // of a packet, asked once; 0: not yet
}

func newMyLimit(m *my) myLimit {
	return myLimit{m.statement("SELECT @@max_allowed_packet").sql, new(atomic.Int64)}
}

// of is the limit for rows of so many bytes together. Small ones are written without asking.
func (l myLimit) of(ctx context.Context, total int, each eachRow) (int, error) {
	const always = 256 << 10 // the server's variable cannot be set much lower, and nobody has it lower than a megabyte
	if total <= always {
		return always, nil
	}
	size, err := l.packet(ctx, each)
	if err != nil {
		return 0, err
	}
	// Libraries that write parameters into the text double what they have to escape.
	return int(min(size/2, maxRow)) - 64<<10, nil
}

// packet is the size of a packet.
func (l myLimit) packet(ctx context.Context, each eachRow) (int64, error) {
	size := l.size.Load()
	if size > 0 {
		return size, nil
	}
	if err := each(ctx, l.ask, nil, func(r sqltx.Rows) error { return r.Scan(&size) }); err != nil {
		return 0, err
	}
	l.size.Store(size)
	return size, nil
}
