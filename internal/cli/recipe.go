package cli

import (
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/builder/request"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

// recipeFlags are those of every verb that reads a recipe and its lock.
type recipeFlags struct {
	recipe string
	set    []string
	cache  string
	lock   string
}

func (f *recipeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.recipe, "recipe", "node", "an embedded recipe ("+strings.Join(images.Names(), ", ")+"), or a file")
	flags.StringArrayVar(&f.set, "set", nil, "lay `PATH=VALUE` over the recipe, for instance spec.disk.rootMiB=3072; may be repeated")
	flags.StringVar(&f.cache, "cache", "", "cache folder (default $XDG_CACHE_HOME/k8snode)")
	flags.StringVar(&f.lock, "lock", "", "the lock (default NAME.lock.json beside the file of the recipe)")
}

// inputFlags are those of the verbs that fetch.
type inputFlags struct {
	keyring         string
	jobs            int
	locked, offline bool
}

func (f *inputFlags) add(cmd *cobra.Command) {
	f.addResolve(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&f.locked, "locked", false, "fail rather than change the lock")
	flags.BoolVar(&f.offline, "offline", false, "open no socket: everything must be cached")
	flags.IntVar(&f.jobs, "jobs", 0, "parallel jobs (default: one for each processor)")
}

func (f *inputFlags) addResolve(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.keyring, "keyring", "", "keys that sign the packages' archive (default: Debian's)")
}

// request is what the flags ask for.
func (f recipeFlags) request() request.Request {
	return request.Request{Recipe: f.recipe, Set: f.set, Lock: f.lock}
}

// work is a recipe and how it is worked on.
type work struct{ request.Job }

// open reads the recipe and finds its lock.
func (f recipeFlags) open(env Env, in inputFlags) (work, error) {
	if f.cache == "" {
		var err error
		if f.cache, err = env.cacheDir(); err != nil {
			return work{}, err
		}
	}
	job, err := f.request().Open(builder.Options{
		Cache: source.Cache{Dir: f.cache}, Env: env.Environ, Now: env.Now,
		Jobs: in.jobs, Keyring: in.keyring, Locked: in.locked, Offline: in.offline,
	})
	return work{job}, usage(err)
}

// load reads the recipe alone.
func (f recipeFlags) load() (images.Loaded, error) {
	loaded, err := f.request().Load()
	return loaded, usage(err)
}

// usage makes a name that is none a fault of the command line.
func usage(err error) error {
	if unknown := (*request.UnknownRecipeError)(nil); errors.As(err, &unknown) {
		return &usageError{unknown.Error(), unknown.Hint()}
	}
	return err
}

// claim makes the work watched, and its temporary files its own. The function
// that it returns ends both.
func (w *work) claim(env Env) (func(), error) {
	cache, release, err := w.Options.Cache.Claim()
	if err != nil {
		return nil, err
	}
	w.Options.Cache = cache
	if !env.terminal() {
		w.Options.Logger = env.logger()
		return release, nil
	}
	p, stop := newProgress(env.Stderr, env.Now, time.Second)
	w.Options.Logger, w.Options.Progress = slog.New(p), p.line.fetch
	return func() {
		stop()
		release()
	}, nil
}
