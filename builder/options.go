package builder

import (
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
	// Cache holds inputs and the outputs of steps.
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
	// Client fetches packages; nil is http.DefaultClient.
	Client *http.Client
	// Jobs limits parallel work; zero is one job for each processor.
	Jobs int
}

func (o Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Logger
}

func (o Options) client() *http.Client {
	if o.Client == nil {
		return http.DefaultClient
	}
	return o.Client
}

func (o Options) now() time.Time {
	if o.Now == nil {
		return time.Time{}
	}
	return o.Now()
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
		Env: o.Env,
	}
}

func compareDebs(a, b source.Deb) int {
	if c := strings.Compare(a.Package, b.Package); c != 0 {
		return c
	}
	return strings.Compare(a.SHA256, b.SHA256)
}
