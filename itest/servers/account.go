package servers

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// An account is the user that a server runs as when we are root, since PostgreSQL refuses to run as root.
type account struct {
	name     string
	uid, gid uint32
}

// serverAccount picks the account for PostgreSQL: nil, which is ours, unless we are root.
func serverAccount() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("%w: PostgreSQL does not run as root, and there is no user postgres or nobody; run as a plain user, or make one of them", ErrUnavailable)
}

// own gives path to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Lchown(path, int(a.uid), int(a.gid))
}

// makeDir makes a directory for one server that the account can reach, with a path short enough for a Unix socket in it.
func (a *account) makeDir(pattern string) (string, error) {
	const longest = 60 // of 107 bytes for a socket's path, less the name of the socket and the random part
	for _, base := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if len(base) > longest || a != nil && !reachable(base) {
			continue
		}
		dir, err := os.MkdirTemp(base, pattern)
		if err != nil {
			continue
		}
		if err := a.own(dir); err != nil {
			os.Remove(dir)
			return "", fmt.Errorf("servers: give %s to user %s: %w", dir, a.name, err)
		}
		return dir, nil
	}
	return "", fmt.Errorf("servers: no directory for a server's data: neither %s nor /tmp nor /var/tmp can be written and reached by it; set TMPDIR to a short path that all users can enter", os.TempDir())
}

// reachable reports whether every user may enter dir and what is above it.
func reachable(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		up := filepath.Dir(dir)
		if up == dir {
			return true
		}
		dir = up
	}
}
