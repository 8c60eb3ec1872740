package claimcheck_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/claimcheck"
)

const aDay = "2026-11-22/"

func name(day string, n int) string { return fmt.Sprintf("%s/%064x", day, n) }

func newDir(t *testing.T) (*claimcheck.Dir, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "new", "blobs")
	d, err := claimcheck.NewDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, path
}

func TestDirKeeps(t *testing.T) {
	d, path := newDir(t)
	n := name("2026-11-22", 1)
	if _, err := d.Get(t.Context(), n, 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a blob that is not there: %v", err)
	}
	for range 2 { // the same again
		if err := d.Put(t.Context(), n, []byte("hello")); err != nil {
			t.Fatal(err)
		}
	}
	for max, want := range map[int]string{10: "hello", 5: "hello", 4: "hell"} {
		if data, err := d.Get(t.Context(), n, max); err != nil || string(data) != want {
			t.Errorf("at most %d bytes: %q, %v", max, data, err)
		}
	}
	file := filepath.Join(path, "2026-11-22", "00", n[len(aDay):])
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v", info.Mode())
	}
	if left, _ := os.ReadDir(filepath.Join(path, "tmp")); len(left) > 0 {
		t.Errorf("%d files are left over", len(left))
	}
	// What a crash of an earlier kind cut off is written again.
	if err := os.Truncate(file, 2); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), n, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if data, err := d.Get(t.Context(), n, 10); err != nil || string(data) != "hello" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestDirRefusesOtherNames(t *testing.T) {
	d, path := newDir(t)
	if err := os.WriteFile(filepath.Join(path, "..", "secret"), []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := name("2026-11-22", 1)
	for _, n := range []string{"", "../secret", "/etc/passwd", "2026-11-22", good + "0", good[1:], "2026-11-22/" + strings.Repeat("../", 20) + "sec/", "2026-13-22" + good[10:],
		strings.ToUpper(name("2026-11-22", 10)), strings.Replace(good, "/", "\\", 1), good[:len(good)-1] + "\x00"} {
		if err := d.Put(t.Context(), n, []byte("x")); !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("Put %q: %v", n, err)
		}
		if _, err := d.Get(t.Context(), n, 10); !errors.Is(err, sixfold.ErrInvalid) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get %q: %v", n, err)
		}
	}
}

func TestDirStaysInside(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symbolic links need rights there")
	}
	d, path := newDir(t)
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(path, "2026-11-22")); err != nil {
		t.Fatal(err)
	}
	n := name("2026-11-22", 1)
	if err := d.Put(t.Context(), n, []byte("x")); err == nil {
		t.Error("a symbolic link led outside")
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Errorf("%d files outside", len(left))
	}
}

func TestDirTogether(t *testing.T) {
	d, path := newDir(t)
	other, err := claimcheck.NewDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			n := name("2026-11-22", i%4)
			if err := []*claimcheck.Dir{d, other}[i%2].Put(t.Context(), n, []byte(n)); err != nil {
				t.Error(err)
			}
			if data, err := d.Get(t.Context(), n, 100); err != nil || string(data) != n {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
	all.Wait()
}

func TestDirPurges(t *testing.T) {
	d, path := newDir(t)
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	d.SetNow(func() time.Time { return now })
	for i, day := range []string{"2026-11-18", "2026-11-19", "2026-11-20", "2026-11-22"} {
		for k := range 3 {
			if err := d.Put(t.Context(), name(day, 100*i+k), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	for file, age := range map[string]time.Duration{"old": 25 * time.Hour, "new": time.Hour} {
		p := filepath.Join(path, "tmp", file)
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(path, "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// The 19th ended 60 h ago, the 20th 36 h ago.
	removed, err := d.Purge(t.Context(), 48*time.Hour)
	if err != nil || removed != 6 {
		t.Errorf("%d removed, %v; want 6", removed, err)
	}
	var left []string
	entries, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if got := strings.Join(left, " "); got != "2026-11-20 2026-11-22 README tmp" {
		t.Errorf("left: %s", got)
	}
	if temps, _ := os.ReadDir(filepath.Join(path, "tmp")); len(temps) != 1 || temps[0].Name() != "new" {
		t.Errorf("unfinished files: %v", temps)
	}
	if _, err := d.Purge(t.Context(), time.Hour); !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("an age of an hour: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	now = now.AddDate(1, 0, 0)
	if n, err := d.Purge(ctx, 48*time.Hour); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %d removed, %v", n, err)
	}
}

func TestDirThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"", file, filepath.Join(file, "below")} {
		if _, err := claimcheck.NewDir(path); err == nil {
			t.Errorf("%q was opened", path)
		}
	}
}

type purger struct {
	calls chan time.Duration
	err   error
}

func (p *purger) Purge(_ context.Context, age time.Duration) (int, error) {
	p.calls <- age
	return 1, p.err
}

func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &purger{calls: make(chan time.Duration), err: errors.New("busy")}
		k, err := claimcheck.NewKeeper(p, &claimcheck.KeeperOptions{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- k.Run(ctx) }()
		for i := range 3 { // a failure is no end
			began := time.Now()
			if age := <-p.calls; age != 30*24*time.Hour || i > 0 && time.Since(began) != time.Hour {
				t.Errorf("call %d: age %v after %v", i, age, time.Since(began))
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	_, err := claimcheck.NewKeeper(nil, &claimcheck.KeeperOptions{Age: time.Hour, Every: time.Millisecond})
	for _, say := range []string{"store: it is nil", "option Age: it is 1h0m0s", "option Every"} {
		if !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), say) {
			t.Errorf("want %q: %v", say, err)
		}
	}
}
