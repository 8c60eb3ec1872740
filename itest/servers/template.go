package servers

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// initArgs are initdb's arguments but for the directory. The copies get their own pg_hba.conf; the C locale is there on
// every machine, and --no-sync is safe since a torn template is never renamed into place.
var initArgs = []string{"-U", superuser, "-E", "UTF8", "--locale=C", "-A", "trust", "--no-sync", "--no-instructions"}

// copyTemplate fills the empty directory data with a fresh cluster. initdb takes seconds, so its result is kept in the
// user's cache, by version, and copied.
func copyTemplate(ctx context.Context, b *binaries, as *account, data string) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	key := sha256.Sum256([]byte(strings.Join(append([]string{b.version, b.postgres}, initArgs...), "\x00")))
	template := filepath.Join(cache, fmt.Sprintf("postgres-%x", key[:8]))
	unlock, err := lockFile(template + ".lock")
	if err != nil {
		return fmt.Errorf("servers: %w", err)
	}
	defer unlock()
	if _, err := os.Stat(template); errors.Is(err, fs.ErrNotExist) {
		if err := makeTemplate(ctx, b, as, template); err != nil {
			return err
		}
	}
	if err := copyTree(template, data, as); err != nil {
		return fmt.Errorf("servers: copy the template cluster %s (delete it if it is damaged): %w", template, err)
	}
	return nil
}

// makeTemplate runs initdb in a directory that the account reaches, and puts the result in place at once, whole.
func makeTemplate(ctx context.Context, b *binaries, as *account, template string) error {
	work, err := as.makeDir("sixfold-initdb-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	data := filepath.Join(work, "data")
	cmd := exec.CommandContext(ctx, b.initdb, append([]string{"-D", data}, initArgs...)...)
	cmd.Dir, cmd.Env = work, serverEnv()
	runAs(cmd, as)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("servers: run %s: %w\n%s", b.initdb, err, tail(out))
	}
	half, err := os.MkdirTemp(filepath.Dir(template), "half-")
	if err != nil {
		return fmt.Errorf("servers: keep the template cluster: %w", err)
	}
	defer os.RemoveAll(half)
	whole := filepath.Join(half, "data")
	if err := os.Mkdir(whole, 0o700); err != nil {
		return fmt.Errorf("servers: keep the template cluster: %w", err)
	}
	if err := copyTree(data, whole, nil); err != nil {
		return fmt.Errorf("servers: keep the template cluster: %w", err)
	}
	return os.Rename(whole, template)
}

// cacheDir is where template clusters are kept: the user's cache, or a directory of the user's own among temporary files.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("sixfold-cache-%d", os.Getuid()))
	} else {
		dir = filepath.Join(dir, "sixfold")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("servers: make the cache of template clusters: %w", err)
	}
	return dir, nil
}

// copyTree copies the files and directories below from into the directory to, and gives them to the account.
func copyTree(from, to string, as *account) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil || rel == "." {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			if err := os.Mkdir(target, 0o700); err != nil {
				return err
			}
		} else if err := copyFile(path, target); err != nil {
			return err
		}
		return as.own(target)
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// serverEnv is our environment without what would point PostgreSQL's programs elsewhere, and with messages that can be
// compared.
func serverEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "PG") && !strings.HasPrefix(kv, "LC_") && !strings.HasPrefix(kv, "LANG") {
			env = append(env, kv)
		}
	}
	return append(env, "LC_ALL=C", "TZ=UTC")
}
