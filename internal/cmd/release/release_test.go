package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// repositoryCopy is a clone of this repository, as it was committed last, that a test may change.
func repositoryCopy(t *testing.T) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("releases are made on Unix")
	}
	root, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := command(t.Context(), root, nil, "git", "rev-parse", "HEAD"); err != nil {
		t.Skip("this is no clone of the repository: ", err)
	}
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		t.Setenv("GIT_"+who+"_NAME", "tester")
		t.Setenv("GIT_"+who+"_EMAIL", "tester@example.com")
	}
	t.Setenv("GIT_CONFIG_COUNT", "2") // nothing goes on in the background while the copy is removed
	t.Setenv("GIT_CONFIG_KEY_0", "gc.auto")
	t.Setenv("GIT_CONFIG_VALUE_0", "0")
	t.Setenv("GIT_CONFIG_KEY_1", "maintenance.auto")
	t.Setenv("GIT_CONFIG_VALUE_1", "false")
	dir := filepath.Join(t.TempDir(), "repository")
	git(t, "", "clone", "-q", "--no-tags", root, dir)
	return dir
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := command(t.Context(), dir, nil, "git", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// change edits a file of the copy and commits that.
func change(t *testing.T, dir, file string, f func(string) string) {
	t.Helper()
	path := filepath.Join(dir, file)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(f(string(text))), 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "commit", "-qam", "change "+file)
}

func told(text string) string {
	return strings.Replace(text, "## [Unreleased]", "## [Unreleased]\n\n## [0.7.0] - 2030-01-01", 1)
}

// A release has every module in one version, without replace lines, and a stranger who has nothing but a module proxy gets
// each of them with all that it needs.
func TestRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("it unpacks every module that ours need")
	}
	root := repositoryCopy(t)
	change(t, root, "CHANGELOG.md", told)
	before := git(t, root, "status", "--porcelain") + git(t, root, "tag")
	t.Setenv("GOFLAGS", "-buildvcs=false") // nothing of the machine's own
	t.Setenv("GOSUMDB", "off")             // which is asked over the network, and may be away; what others made is in the caller's cache
	dir := filepath.Join(t.TempDir(), "release")
	var out bytes.Buffer
	if err := run(t.Context(), root, "v0.7.0", dir, false, &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	tags := strings.Fields(git(t, dir, "tag"))
	for _, want := range []string{"v0.7.0", "postgres/v0.7.0", "transport/nats/v0.7.0"} {
		if !slices.Contains(tags, want) {
			t.Errorf("the tags are %q, without %s", tags, want)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("nothing says how to push %s:\n%s", want, &out)
		}
	}
	for _, tag := range tags {
		nested := strings.TrimSuffix(strings.TrimSuffix(tag, "v0.7.0"), "/")
		if strings.HasPrefix(nested, "itest") || nested == "benchmarks" {
			t.Errorf("%s is tagged", tag)
		}
		mod := git(t, dir, "show", tag+":"+filepath.ToSlash(filepath.Join(nested, "go.mod")))
		if strings.Contains(mod, "replace") || strings.Contains(mod, "v0.0.0\n") {
			t.Errorf("%s:\n%s", tag, mod)
		}
		requires := strings.Contains(mod, repository+" v0.7.0")
		if sums := requires && !strings.Contains(git(t, dir, "show", tag+":"+nested+"/go.sum"), repository+" v0.7.0 h1:"); sums {
			t.Errorf("%s has no sum of the root module", tag)
		}
		if !requires && nested != "" && nested != "vet" {
			t.Errorf("%s does not require the root module", tag)
		}
	}
	if after := git(t, root, "status", "--porcelain") + git(t, root, "tag"); after != before {
		t.Errorf("the repository was changed:\n%s", after)
	}
	if status := git(t, dir, "status", "--porcelain"); status != "" {
		t.Errorf("the release is not all committed:\n%s", status)
	}
}

func TestReleaseRefuses(t *testing.T) {
	root := repositoryCopy(t)
	there := t.TempDir()
	gone := filepath.Join(there, "release")
	for _, c := range []struct{ version, dir, want string }{
		{"0.7.0", gone, "form v0.1.0"}, {"v2.0.0", gone, "from v2 on"}, {"v0.7", gone, "form v0.1.0"}, {"v0.07.0", gone, "form v0.1.0"},
		{"v0.7.0", there, "is there already"}, {"v0.7.0", gone, `no heading "## [0.7.0]"`},
	} {
		err := run(t.Context(), root, c.version, c.dir, false, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s into %s: %v", c.version, c.dir, err)
		}
	}
	change(t, root, "CHANGELOG.md", told)
	change(t, root, filepath.Join("postgres", "go.mod"), func(text string) string {
		return strings.Replace(text, "require (", "require (\n\t"+repository+"/itest v0.0.0", 1)
	})
	if err := run(t.Context(), root, "v0.7.0", gone, false, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "never released") {
		t.Error(err)
	}
	if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
		t.Error("what failed left a directory")
	}
}
