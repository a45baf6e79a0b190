package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/report"
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

// work is a recipe and how it is worked on.
type work struct {
	images.Loaded
	options builder.Options
	// file is the lock, or where the one of an embedded recipe begins.
	file string
}

// open reads the recipe and finds its lock.
func (f recipeFlags) open(env Env, in inputFlags) (work, error) {
	loaded, err := f.load(f.set)
	if err != nil {
		return work{}, err
	}
	if f.cache == "" {
		if f.cache, err = env.cacheDir(); err != nil {
			return work{}, err
		}
	}
	// Programs that run elsewhere are told of both.
	for _, path := range []*string{&f.cache, &in.keyring} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return work{}, err
		}
	}
	w := work{Loaded: loaded, options: builder.Options{
		Cache: source.Cache{Dir: f.cache}, Env: env.Environ, Now: env.Now,
		Jobs: in.jobs, Keyring: in.keyring, Locked: in.locked, Offline: in.offline,
		LockCommand: f.command("lock"),
	}}
	return w, f.findLock(&w)
}

// load reads the recipe with some overrides.
func (f recipeFlags) load(set []string) (images.Loaded, error) {
	loaded, err := images.Load(f.recipe, images.LoadOptions{Set: set, Open: openRecipe})
	if images.IsEmbedded(f.recipe) && errors.Is(err, fs.ErrNotExist) {
		return images.Loaded{}, &usageError{
			fmt.Sprintf("there is no recipe %q", f.recipe),
			"the embedded recipes are " + strings.Join(images.Names(), ", ") + "; name a file by a path such as ./" + f.recipe + ".yaml",
		}
	}
	return loaded, err
}

// openRecipe returns the folder of a recipe's file.
func openRecipe(file string) (fs.FS, string, error) {
	return os.DirFS(filepath.Dir(file)), filepath.Base(file), nil
}

// findLock says which lock the options have. That of a file is beside it. That
// of an embedded recipe cannot be written to, and overrides that change what is
// locked are not the recipe's: in both cases the lock that there is is what a
// lock in the cache begins with.
func (f recipeFlags) findLock(w *work) error {
	switch {
	case f.lock != "":
		w.options.Lock, w.file = f.lock, f.lock
		return nil
	case images.IsEmbedded(f.recipe):
		folder, file, err := images.Open(f.recipe)
		if err != nil {
			return err
		}
		name := lockName(file)
		w.file = "embedded:" + name
		return w.seed(fs.ReadFile(folder, name))
	}
	w.file = filepath.FromSlash(lockName(filepath.ToSlash(f.recipe)))
	if f.overridden(w.Recipe.Spec) {
		return w.seed(os.ReadFile(w.file))
	}
	w.options.Lock = w.file
	return nil
}

func (w *work) seed(content []byte, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	w.options.Seed, w.options.SeedName = content, w.file
	return err
}

// overridden reports whether the overrides change what is locked.
func (f recipeFlags) overridden(s images.Spec) bool {
	if len(f.set) == 0 {
		return false
	}
	plain, err := f.load(nil)
	return err != nil || builder.LockKey(plain.Recipe.Spec) != builder.LockKey(s)
}

// lockName is the name of the lock of a recipe's file.
func lockName(file string) string {
	return strings.TrimSuffix(file, path.Ext(file)) + ".lock.json"
}

// command returns the command line of a verb for the same recipe.
func (f recipeFlags) command(verb string) string {
	words := []string{"k8snode", verb, "--recipe", f.recipe}
	for _, set := range f.set {
		words = append(words, "--set", set)
	}
	if f.lock != "" {
		words = append(words, "--lock", f.lock)
	}
	for i, word := range words {
		if strings.ContainsAny(word, " \t\n'\"\\$`*?[]{}()<>|&;#~!") {
			words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// claim makes the work watched, and its temporary files its own. The function
// that it returns ends both.
func (w *work) claim(env Env) (func(), error) {
	cache, release, err := w.options.Cache.Claim()
	if err != nil {
		return nil, err
	}
	w.options.Cache = cache
	if !env.terminal() {
		w.options.Logger = env.logger()
		return release, nil
	}
	p, stop := newProgress(env.Stderr, env.Now, time.Second)
	w.options.Logger, w.options.Progress = slog.New(p), p.line.fetch
	return func() {
		stop()
		release()
	}, nil
}

// explain shows packages that do not exist at the place of the recipe that
// names them.
func (w work) explain(err error) error {
	missing, others := packageErrors(err)
	if len(missing) == 0 || others {
		return err
	}
	var problems report.Problems
	for _, e := range missing {
		paths := packagePaths(w.Recipe.Spec, e)
		if len(paths) == 0 {
			// It is one that every image needs, and named by no recipe.
			return err
		}
		for _, at := range paths {
			problems.Add(at, e.Error(), "")
		}
	}
	return w.Place(problems).Err()
}

// packageErrors returns the errors about packages that an error is made of,
// and whether it is made of others as well.
func packageErrors(err error) (missing []*source.PackageError, others bool) {
	switch e := err.(type) { //nolint:errorlint // the tree is walked by hand
	case nil:
	case *source.PackageError:
		missing = append(missing, e)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			more, other := packageErrors(inner)
			missing, others = append(missing, more...), others || other
		}
	case interface{ Unwrap() error }:
		return packageErrors(e.Unwrap())
	default:
		others = true
	}
	return missing, others
}

// packagePaths returns the fields that name a package.
func packagePaths(s images.Spec, e *source.PackageError) []report.Path {
	var paths []report.Path
	if s.Kernel.Package == e.Package && (e.Suite == "" || e.Suite == s.Kernel.Suite) {
		paths = append(paths, "spec.kernel.package")
	}
	list := func(at report.Path, packages []string) {
		for i, p := range packages {
			name, suite, _ := strings.Cut(p, "/")
			if name == e.Package && (e.Suite == "" || suite == e.Suite) {
				paths = append(paths, at.Index(i))
			}
		}
	}
	list("spec.packages", s.Packages)
	for i, c := range s.Containers {
		list(report.Path("spec.containers").Index(i).Field("packages"), c.Packages)
	}
	return slices.Compact(paths)
}
