package request

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/images"
)

// A Request says which image is meant.
type Request struct {
	// Recipe is the name of an embedded recipe, or the path of a file.
	Recipe string
	// Set are overrides, "path=value".
	Set []string
	// Lock is the path of the lock; empty means the one beside the recipe's
	// file, or the embedded one.
	Lock string
}

// A Job is a recipe and how it is worked on.
type Job struct {
	images.Loaded
	Options builder.Options
	// LockFile is the lock, or where the one of an embedded recipe begins.
	LockFile string
}

// An UnknownRecipeError says that no embedded recipe has a name.
type UnknownRecipeError struct{ Name string }

func (e *UnknownRecipeError) Error() string { return fmt.Sprintf("there is no recipe %q", e.Name) }

// Hint says what would be right.
func (e *UnknownRecipeError) Hint() string {
	return "the embedded recipes are " + strings.Join(images.Names(), ", ") + "; name a file by a path such as ./" + e.Name + ".yaml"
}

// Load reads the recipe. A name that is none is an [*UnknownRecipeError].
func (r Request) Load() (images.Loaded, error) {
	loaded, err := images.Load(r.Recipe, images.LoadOptions{Set: r.Set, Open: openRecipe})
	if images.IsEmbedded(r.Recipe) && errors.Is(err, fs.ErrNotExist) {
		return images.Loaded{}, &UnknownRecipeError{r.Recipe}
	}
	return loaded, err
}

// openRecipe returns the folder of a recipe's file.
func openRecipe(file string) (fs.FS, string, error) {
	return os.DirFS(filepath.Dir(file)), filepath.Base(file), nil
}

// Open reads the recipe and finds its lock. The paths of programs that run
// elsewhere are made absolute; of the options, those of the lock are set.
func (r Request) Open(o builder.Options) (Job, error) {
	loaded, err := r.Load()
	if err != nil {
		return Job{}, err
	}
	for _, name := range []*string{&o.Cache.Dir, &o.Keyring} {
		if *name == "" {
			continue
		}
		if *name, err = filepath.Abs(*name); err != nil {
			return Job{}, err
		}
	}
	o.LockCommand = r.Command("lock")
	j := Job{Loaded: loaded, Options: o}
	return j, r.findLock(&j)
}

// findLock says which lock the options have. That of a file is beside it. That
// of an embedded recipe cannot be written to, and overrides that change what is
// locked are not the recipe's: in both cases the lock that there is is what a
// lock in the cache begins with.
func (r Request) findLock(j *Job) error {
	switch {
	case r.Lock != "":
		j.Options.Lock, j.LockFile = r.Lock, r.Lock
		return nil
	case images.IsEmbedded(r.Recipe):
		folder, file, err := images.Open(r.Recipe)
		if err != nil {
			return err
		}
		name := lockName(file)
		j.LockFile = "embedded:" + name
		return j.seed(fs.ReadFile(folder, name))
	}
	j.LockFile = filepath.FromSlash(lockName(filepath.ToSlash(r.Recipe)))
	if r.overridden(j.Recipe.Spec) {
		return j.seed(os.ReadFile(j.LockFile))
	}
	j.Options.Lock = j.LockFile
	return nil
}

func (j *Job) seed(content []byte, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	j.Options.Seed, j.Options.SeedName = content, j.LockFile
	return err
}

// overridden reports whether the overrides change what is locked.
func (r Request) overridden(s images.Spec) bool {
	if len(r.Set) == 0 {
		return false
	}
	plain, err := Request{Recipe: r.Recipe}.Load()
	return err != nil || builder.LockKey(plain.Recipe.Spec) != builder.LockKey(s)
}

// lockName is the name of the lock of a recipe's file.
func lockName(file string) string {
	return strings.TrimSuffix(file, path.Ext(file)) + ".lock.json"
}

// Command returns the command line of a verb for the same recipe.
func (r Request) Command(verb string) string {
	words := []string{"k8snode", verb, "--recipe", r.Recipe}
	for _, set := range r.Set {
		words = append(words, "--set", set)
	}
	if r.Lock != "" {
		words = append(words, "--lock", r.Lock)
	}
	for i, word := range words {
		if strings.ContainsAny(word, " \t\n'\"\\$`*?[]{}()<>|&;#~!") {
			words[i] = "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
