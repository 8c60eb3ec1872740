package claimcheck

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"time"

	"github.com/sixfold-go/sixfold"
)

// Dir keeps blobs in a directory, which several processes may share; on several machines, through a file system that has atomic
// renames. Blobs of a day lie in a directory of that day, below one of 256 by their first two digits. It is safe for concurrent
// use.
//
// A blob is written under a name of its own, synced, renamed, and its directory synced, so that a crash leaves a whole blob
// or none. Nothing outside the directory can be reached through it, also not by symbolic links.
type Dir struct {
	root *os.Root
	now  func() time.Time
}

var (
	_ BlobStore = (*Dir)(nil)
	_ Purger    = (*Dir)(nil)
)

const (
	dirMode  = 0o700
	fileMode = 0o600
	tempDir  = "tmp"
	tempAge  = 24 * time.Hour // nobody writes one blob for so long
)

// NewDir opens the directory at path and makes it, with those above it, if it is not there. What it makes is for the process's
// own user only. Close it when nobody uses it any more.
func NewDir(path string) (*Dir, error) {
	if path == "" {
		return nil, fmt.Errorf("claimcheck: open a directory: %w path: it is empty; name a directory for blobs", sixfold.ErrInvalid)
	}
	if err := os.MkdirAll(path, dirMode); err != nil {
		return nil, fmt.Errorf("claimcheck: open a directory: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("claimcheck: open a directory: %w", err)
	}
	if err := root.MkdirAll(tempDir, dirMode); err != nil {
		return nil, errors.Join(fmt.Errorf("claimcheck: open a directory: %w; it must be writable", err), root.Close())
	}
	return &Dir{root: root, now: time.Now}, nil
}

// Close ends the use of the directory. It is safe to call twice.
func (d *Dir) Close() error { return d.root.Close() }

// Put implements BlobStore.
func (d *Dir) Put(ctx context.Context, name string, data []byte) error {
	file, err := fileOf(name)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("claimcheck: store a blob: %w", err)
	}
	if info, err := d.root.Stat(file); err == nil && info.Size() == int64(len(data)) {
		return nil // whole, since its name appears with the rename only; and its day is part of its name
	}
	temp := path.Join(tempDir, rand.Text())
	if err := d.write(temp, data); err != nil {
		_ = d.root.Remove(temp)
		return fmt.Errorf("claimcheck: store blob %s: %w", name, err)
	}
	if err := d.publish(temp, file); err != nil {
		_ = d.root.Remove(temp)
		return fmt.Errorf("claimcheck: store blob %s: %w", name, err)
	}
	return nil
}

func (d *Dir) write(file string, data []byte) error {
	f, err := d.root.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// publish gives a written file its name. A purge may take an old directory away beneath it, so it tries twice.
func (d *Dir) publish(temp, file string) error {
	shard := path.Dir(file)
	for again := range 2 {
		if err := d.root.MkdirAll(shard, dirMode); err != nil {
			return err
		}
		err := d.root.Rename(temp, file)
		if err == nil {
			break
		}
		if again > 0 || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, dir := range []string{shard, path.Dir(shard), "."} {
		if err := d.sync(dir); err != nil {
			return err
		}
	}
	return nil
}

// sync makes the entries of a directory safe. Windows has no such call, and needs none.
func (d *Dir) sync(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Get implements BlobStore.
func (d *Dir) Get(ctx context.Context, name string, max int) ([]byte, error) {
	file, err := fileOf(name)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("claimcheck: read a blob: %w", err)
	}
	data, err := d.read(file, max)
	if err != nil {
		return nil, fmt.Errorf("claimcheck: read blob %s: %w", name, err)
	}
	return data, nil
}

func (d *Dir) read(file string, max int) ([]byte, error) {
	f, err := d.root.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, min(info.Size(), int64(max)))
	_, err = io.ReadFull(f, data)
	return data, err
}

// Purge implements Purger: it removes whole days. A day is removed when its last moment is longer than age ago by this host's clock.
func (d *Dir) Purge(ctx context.Context, age time.Duration) (removed int, err error) {
	if age < minAge {
		return 0, fmt.Errorf("claimcheck: purge blobs: %w age %v: it is below %v; keep blobs longer than any message may wait", sixfold.ErrInvalid, age, minAge)
	}
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return 0, fmt.Errorf("claimcheck: purge blobs: %w", err)
	}
	before := d.now().Add(-age)
	for _, e := range entries {
		day, err := time.Parse(dayForm, e.Name())
		if err != nil || !day.AddDate(0, 0, 1).Before(before) {
			continue
		}
		n, err := d.purgeDay(ctx, e.Name())
		if removed += n; err != nil {
			return removed, fmt.Errorf("claimcheck: purge the blobs of %s: %w", e.Name(), err)
		}
	}
	return removed, d.purgeTemp(ctx)
}

func (d *Dir) purgeDay(ctx context.Context, day string) (removed int, err error) {
	shards, err := fs.ReadDir(d.root.FS(), day)
	if err != nil {
		return 0, err
	}
	for _, shard := range shards {
		dir := path.Join(day, shard.Name())
		blobs, err := fs.ReadDir(d.root.FS(), dir)
		if err != nil {
			return removed, err
		}
		for _, b := range blobs {
			if err := ctx.Err(); err != nil {
				return removed, err
			}
			if err := d.root.Remove(path.Join(dir, b.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return removed, err
			}
			removed++
		}
		if err := d.root.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, err
		}
	}
	if err := d.root.Remove(day); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return removed, err
	}
	return removed, nil
}

// purgeTemp removes what processes left that died while they wrote.
func (d *Dir) purgeTemp(ctx context.Context) error {
	entries, err := fs.ReadDir(d.root.FS(), tempDir)
	if err != nil {
		return fmt.Errorf("claimcheck: purge blobs: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || d.now().Sub(info.ModTime()) < tempAge {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("claimcheck: purge blobs: %w", err)
		}
		if err := d.root.Remove(path.Join(tempDir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("claimcheck: purge blobs: %w", err)
		}
	}
	return nil
}

// fileOf is where a blob lies: "2026-11-22/9f/9f86d0…".
func fileOf(name string) (string, error) {
	if err := checkName(name); err != nil {
		return "", err
	}
	day, sum := name[:len(dayForm)], name[len(dayForm)+1:]
	return path.Join(day, sum[:2], sum), nil
}
