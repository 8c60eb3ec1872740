// Command release prepares a version of every module that users build: in a clone of this repository it drops the replace
// lines, requires siblings in the one version of the release, tidies, and builds each module as a stranger would get it,
// from a module proxy in the file system. It commits and tags in the clone, and publishes nothing.
//
//	scripts/release v0.1.0 ../sixfold-v0.1.0
//
// The same version cannot be released twice: what a module proxy has served once it keeps.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
)

// repository is the path of the root module, which all others begin with.
const repository = "github.com/sixfold-go/sixfold"

func main() {
	root := flag.String("root", ".", "the `directory` of the repository")
	build := flag.Bool("build", true, "build each module as a stranger gets it; without, only find all that it needs")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: scripts/release VERSION DIRECTORY\n\nPrepares a release in a clone, in a directory that is not there yet. Publishes nothing.")
	}
	flag.Parse()
	if flag.NArg() != 2 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *root, flag.Arg(0), flag.Arg(1), *build, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// version is what may be released while the paths of the modules have no major version: 0 and 1.
var version = regexp.MustCompile(`^v[01]\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?$`)

func run(ctx context.Context, root, v, dir string, build bool, out io.Writer) (err error) {
	if !version.MatchString(v) {
		return fmt.Errorf("version %.64q: it is not of the form v0.1.0 or v1.2.3; from v2 on the paths of the modules need it too", v)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("directory %q: it is there already; name a new one, in which the clone is made", dir)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	defer func() {
		if err != nil { // what is half done is good for nothing, and would be in the way of the next try
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	r := &releaser{dir: dir, version: v, out: out}
	if err := r.clone(ctx, root); err != nil {
		return err
	}
	if err := r.changelog(); err != nil {
		return err
	}
	modules, err := r.plan(ctx)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "sixfold-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	if err := r.useProxy(ctx, scratch); err != nil {
		return err
	}
	for _, m := range modules { // siblings before those that require them
		r.say("pin %s", m.path())
		if err := r.pin(ctx, m); err != nil {
			return err
		}
		if err := r.serve(ctx, m); err != nil {
			return err
		}
	}
	for _, m := range modules {
		r.say("get %s as a stranger", m.path())
		if err := r.stranger(ctx, m, filepath.Join(scratch, "stranger"), build); err != nil {
			return err
		}
	}
	return r.tag(ctx, modules)
}

// releaser works in one clone.
type releaser struct {
	dir, version string
	out          io.Writer
	proxy        string   // directory
	env          []string // of go commands that use it
}

func (r *releaser) say(format string, args ...any) {
	fmt.Fprintf(r.out, "== release: "+format+"\n", args...)
}

// clone takes what was committed, and nothing else, and leaves the repository as it was.
func (r *releaser) clone(ctx context.Context, root string) error {
	_, err := command(ctx, "", nil, "git", "clone", "-q", "--no-tags", root, r.dir)
	return err
}

// changelog refuses a version whose changes are not told.
func (r *releaser) changelog() error {
	text, err := os.ReadFile(filepath.Join(r.dir, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	if heading := "## [" + strings.TrimPrefix(r.version, "v") + "]"; !strings.Contains(string(text), "\n"+heading) {
		return fmt.Errorf("CHANGELOG.md: it has no heading %q; move what is under [Unreleased] there, and commit that first", heading)
	}
	return nil
}

// tag commits and tags in the clone, and says how to publish that.
func (r *releaser) tag(ctx context.Context, modules []module) error {
	if _, err := command(ctx, r.dir, nil, "git", "commit", "-qam", "release "+r.version); err != nil {
		return err
	}
	var tags []string
	for _, m := range modules {
		tags = append(tags, m.tag(r.version))
		if _, err := command(ctx, r.dir, nil, "git", "tag", m.tag(r.version)); err != nil {
			return err
		}
	}
	r.say("%s is ready in %s, and nothing is published. Look at it, then:", r.version, r.dir)
	fmt.Fprintf(r.out, "  git -C %s push <remote> %s\n", r.dir, strings.Join(tags, " "))
	return nil
}
