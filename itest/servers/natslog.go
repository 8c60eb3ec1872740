package servers

import (
	"fmt"
	"strings"
	"sync"
)

// A natsLog keeps the last warnings and errors of a NATS server, and tells when it has given up.
type natsLog struct {
	mu    sync.Mutex
	lines []string
	gone  bool // a fatal error came
}

func (l *natsLog) Noticef(string, ...any) {}

func (l *natsLog) Debugf(string, ...any) {}

func (l *natsLog) Tracef(string, ...any) {}

func (l *natsLog) Warnf(format string, v ...any) { l.add("WRN", format, v) }

func (l *natsLog) Errorf(format string, v ...any) { l.add("ERR", format, v) }

// Fatalf takes what would end a server of its own; here it ends the start.
func (l *natsLog) Fatalf(format string, v ...any) {
	l.add("FTL", format, v)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = true
}

func (l *natsLog) add(level, format string, v []any) {
	const most = 50
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, level+" "+fmt.Sprintf(format, v...))
	if len(l.lines) > most {
		l.lines = l.lines[1:]
	}
}

func (l *natsLog) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

// String returns the lines kept.
func (l *natsLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}
