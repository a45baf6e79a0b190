package builder

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

// A StaleLockError says that a lock must be made anew, which was forbidden.
type StaleLockError struct {
	// Reason is what is wrong with the lock.
	Reason string
	// Option is what forbids it, Remedy what to do.
	Option, Remedy string
}

func (e *StaleLockError) Error() string {
	return fmt.Sprintf("%s; %s does not change the lock: %s", e.Reason, e.Option, e.Remedy)
}

// Relocked is a lock that was made anew, beside the one that there was.
type Relocked struct {
	// File is where the lock belongs.
	File string
	Lock Lock
	// Found says that there was one; Changes are what differs from it.
	Found   bool
	Changes []Change
	// Changed says that the file would change, if only in its form.
	Changed bool
}

// Relock resolves everything anew and compares it to the lock that there is,
// also to one that is damaged. [Relocked.Write] writes it.
func Relock(ctx context.Context, s images.Spec, o Options) (Relocked, error) {
	if o.Offline {
		return Relocked{}, errors.New("a lock cannot be made offline")
	}
	r := Relocked{File: o.lockPath(s)}
	data, _, err := o.readLockFile(s)
	if err != nil {
		return Relocked{}, err
	}
	var old lockFile
	r.Found = json.Unmarshal(data, &old) == nil
	if r.Lock, err = Resolve(ctx, s, o); err != nil {
		return Relocked{}, err
	}
	if r.Found {
		r.Changes = old.Changes(r.Lock)
	}
	r.Changed = !bytes.Equal(data, r.Lock.Marshal())
	return r, nil
}

// Write writes the lock to its file.
func (r Relocked) Write() error { return writeLock(r.File, r.Lock) }

// ReadLock returns the lock of a recipe, and an error if there is none that
// answers it. It opens no socket.
func ReadLock(s images.Spec, o Options) (Lock, error) {
	lock, stale, err := o.readLock(s)
	if err == nil && stale != "" {
		err = fmt.Errorf("%s; run %q", stale, o.lockCommand())
	}
	return lock, err
}

// lockAndFetch returns a lock whose files are all in the cache. It uses the
// lock that there is while it answers the recipe and its packages can still be
// had. Archives move on: else it resolves again, says what changed, and writes
// the new lock. What is missing offline is told by [Plan.CheckOffline], with
// the modules that the plan compiles.
func lockAndFetch(ctx context.Context, s images.Spec, o Options) (Lock, error) {
	lock, _, err := lockAndCount(ctx, s, o)
	if errors.As(err, new(*MissingError)) {
		err = nil
	}
	return lock, err
}

func lockAndCount(ctx context.Context, s images.Spec, o Options) (Lock, Fetched, error) {
	old, stale, err := o.readLock(s)
	if err != nil {
		return Lock{}, Fetched{}, err
	}
	keep := old
	if stale == "" {
		got, err := fetch(ctx, s, old, o)
		var gone *GoneError
		if !errors.As(err, &gone) {
			return old, got, err
		}
		stale = gone.Error()
		keep.Images = slices.DeleteFunc(slices.Clone(old.Images), func(i Image) bool { return slices.Contains(gone.Names, i.Image) })
	}
	switch {
	case o.Locked:
		return Lock{}, Fetched{}, &StaleLockError{stale, "--locked", fmt.Sprintf("run %q", o.lockCommand())}
	case o.Offline:
		return Lock{}, Fetched{}, &StaleLockError{stale, "--offline", fmt.Sprintf("run %q with a network", o.lockCommand())}
	}
	found := len(old.Requests) > 0
	if found {
		o.logger().Warn("the lock is made anew", "reason", stale)
	}
	lock, err := resolve(ctx, s, o, keep)
	if err != nil {
		return Lock{}, Fetched{}, err
	}
	if found {
		for _, c := range old.Changes(lock) {
			o.logger().Warn("the lock changed", "what", c.String())
		}
	}
	path := o.lockPath(s)
	if err := writeLock(path, lock); err != nil {
		return Lock{}, Fetched{}, err
	}
	o.logger().Info("wrote the lock", "path", path)
	got, err := fetch(ctx, s, lock, o)
	if errors.As(err, new(*GoneError)) {
		err = fmt.Errorf("%w, which name them themselves: a mirror is incomplete; try again later, or name another", err)
	}
	return lock, got, err
}

func (o Options) lockPath(s images.Spec) string {
	if o.Lock != "" {
		return o.Lock
	}
	key := LockKey(s)
	if len(o.Seed) > 0 {
		// A new seed is newer than what was made of another one.
		key = source.SumJSON([]string{key, source.SumBytes(o.Seed)})
	}
	return filepath.Join(o.Cache.Dir, "locks", key+".json")
}

// readLockFile returns the content of the lock or of the seed, and its name;
// no content if there is neither.
func (o Options) readLockFile(s images.Spec) (data []byte, name string, err error) {
	path := o.lockPath(s)
	data, err = os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return o.Seed, o.SeedName, nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading the lock: %w", err)
	}
	return data, path, nil
}

// readLock returns the lock that there is, and why it is of no use as it is.
func (o Options) readLock(s images.Spec) (lock Lock, stale string, err error) {
	data, name, err := o.readLockFile(s)
	if err != nil {
		return Lock{}, "", err
	}
	if len(data) == 0 {
		return Lock{}, fmt.Sprintf("there is no lock %s", o.lockPath(s)), nil
	}
	lock, err = ParseLock(name, data, o.lockCommand())
	if err != nil {
		return Lock{}, "", err
	}
	if lock.Key != LockKey(s) {
		return lock, fmt.Sprintf("the recipe changed since %s was made: %s", name, changedRequests(lock.Requests, requests(s))), nil
	}
	return lock, "", nil
}

// changedRequests says what is asked for now that was not, and the other way.
func changedRequests(was, is []string) string {
	var changes []string
	for _, r := range is {
		if !slices.Contains(was, r) {
			changes = append(changes, "+ "+r)
		}
	}
	for _, r := range was {
		if !slices.Contains(is, r) {
			changes = append(changes, "- "+r)
		}
	}
	if len(changes) == 0 {
		return "its modules are in another order"
	}
	return strings.Join(changes, ", ")
}

func writeLock(path string, l Lock) error {
	err := atomicfile.Write(path, l.Marshal(), 0o644)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w; name another file with --lock", err)
	}
	return err
}
