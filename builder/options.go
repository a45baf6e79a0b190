package builder

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

// Options of a bake. The zero value of each field but Cache, Agent and Out is
// usable.
type Options struct {
	// Cache holds inputs and the outputs of steps. Its path is absolute.
	Cache source.Cache
	// Agent is the path of the static program k8snode-agent.
	Agent string
	// Out is the output folder; it is replaced whole.
	Out string
	// Env of the commands that are run, "KEY=value"; normally the caller's.
	Env []string
	// Now measures steps; nil leaves their times zero.
	Now func() time.Time
	// Logger gets one line for each step; nil discards them.
	Logger *slog.Logger
	// Client fetches packages and downloads; nil is http.DefaultClient.
	Client *http.Client
	// Attempts is how often in a row a request may fail; zero is 6.
	Attempts int
	// Progress is told how far a fetch is, from several goroutines; nil
	// ignores it.
	Progress func(Progress)

	// Provision changes the root before it is sealed; nil leaves it as the
	// recipe and the lock make it. What it changes is in the manifest, and in
	// the image's ID.
	Provision func(context.Context, *Root) error
	// RootDir is the empty folder in which the root is unpacked for Provision,
	// an absolute path; it is the caller's to remove. Empty means one in the
	// cache that is removed.
	RootDir string

	// Lock is the path of the lock. Empty means one in the cache, named after
	// what the recipe asks for.
	Lock string
	// Seed is the content of a lock to begin with where there is none at Lock,
	// and SeedName its name in messages. It is never written to.
	Seed     []byte
	SeedName string
	// LockCommand is what makes the lock anew, for messages; empty is
	// "k8snode lock".
	LockCommand string
	// Locked refuses to change the lock, Offline to open a socket.
	Locked  bool
	Offline bool
	// Mirror is the root URI of the Debian archive. Empty means the recipe's,
	// or else the one of this host's apt.
	Mirror string
	// Keyring is the absolute path of the keys that may sign the archive;
	// empty means Debian's.
	Keyring string
	// Check repeats the bake and compares.
	Check Check
	// Jobs limits parallel work; zero is one job for each processor.
	Jobs int
}

func (o Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Logger
}

func (o Options) now() time.Time {
	if o.Now == nil {
		return time.Time{}
	}
	return o.Now()
}

// since returns how long ago that was.
func (o Options) since(start time.Time) time.Duration {
	return o.now().Sub(start).Round(time.Millisecond)
}

func (o Options) lockCommand() string {
	if o.LockCommand == "" {
		return "k8snode lock"
	}
	return o.LockCommand
}

// http fetches files for a recipe.
func (o Options) http(s images.Spec) source.HTTP {
	return source.HTTP{Client: o.Client, Mirrors: s.Mirrors, Offline: o.Offline, Attempts: o.Attempts}
}

// goTool is the Go command.
func (o Options) goTool() source.Go {
	return source.Go{Env: o.Env, Jobs: o.Jobs, Offline: o.Offline}
}

// mirror returns the root of the Debian archive.
func (o Options) mirror(ctx context.Context, s images.Spec) (string, error) {
	switch {
	case o.Mirror != "":
		return strings.TrimRight(o.Mirror, "/"), nil
	case s.Distribution.Mirror != "":
		return strings.TrimRight(s.Distribution.Mirror, "/"), nil
	default:
		return source.HostMirror(ctx)
	}
}

func (o Options) archive(s images.Spec, mirror string) source.Archive {
	suites := []string{s.Distribution.Suite}
	add := func(suite string) {
		for _, have := range suites {
			if have == suite {
				return
			}
		}
		suites = append(suites, suite)
	}
	add(s.Kernel.Suite)
	for _, p := range s.Packages {
		if _, suite, ok := strings.Cut(p, "/"); ok {
			add(suite)
		}
	}
	return source.Archive{
		Mirror: mirror, Suites: suites, Components: s.Distribution.Components,
		Dir: filepath.Join(o.Cache.Dir, "apt", source.SumJSON([]any{mirror, suites, s.Distribution.Components})[:16]),
		Env: o.Env, Keyring: o.Keyring, Attempts: o.Attempts,
	}
}

func compareDebs(a, b source.Deb) int {
	if c := strings.Compare(a.Package, b.Package); c != 0 {
		return c
	}
	return strings.Compare(a.SHA256, b.SHA256)
}

// Check says whether a bake is repeated, to see that it gives the same bytes.
type Check string

// The checks.
const (
	CheckNone Check = ""
	// CheckAssembly repeats all that is not cached: the root, the disk, the
	// ISO and what describes them.
	CheckAssembly Check = "assembly"
	// CheckSteps repeats every cached step as well.
	CheckSteps Check = "steps"
)
