package builder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

// Packages whose files, not whose installation, an image needs.
const (
	stubPackage = "systemd-boot-efi"
	stubFile    = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"
	ipxePackage = "ipxe"
	// snponly drives the card through the firmware that already loaded it:
	// no driver of its own, no trouble with cards that it does not know.
	ipxeFile = "usr/lib/ipxe/snponly.efi"
)

// A Lock pins every input of an image.
type Lock struct {
	// Key is the digest of the part of the recipe that the lock answers.
	Key string `json:"key"`
	// Mirror is where the packages were, for fetching them.
	Mirror string `json:"mirror"`
	// Root are the packages of the root, Boot the ones whose files are taken.
	Root []source.Deb `json:"root"`
	Boot []source.Deb `json:"boot"`
	// Containers are the packages of container images, by reference.
	Containers map[string][]source.Deb `json:"containers,omitempty"`
	Modules    []source.Module         `json:"modules"`
}

// LockKey names what a lock depends on.
func LockKey(s images.Spec) string {
	type module struct{ Module, Version string }
	var mods []module
	for _, m := range s.Modules {
		mods = append(mods, module{m.Module, m.Version})
	}
	containers := map[string][]string{}
	for _, c := range s.Containers {
		if len(c.Packages) > 0 {
			containers[c.Reference] = c.Packages
		}
	}
	kernel := s.Kernel
	kernel.Arguments = nil
	return source.SumJSON([]any{"lock/1", s.Distribution, kernel, s.Packages, mods, containers})
}

// ErrKernelNotNewer says that the kernel of the recipe is not newer than the
// one of the base suite.
var ErrKernelNotNewer = errors.New("the kernel is not newer than the base suite's")

// Resolve asks the archive and the module proxy what the recipe's names mean
// today.
func Resolve(ctx context.Context, s images.Spec, o Options) (Lock, error) {
	mirror := s.Distribution.Mirror
	if mirror == "" {
		var err error
		if mirror, err = source.HostMirror(ctx); err != nil {
			return Lock{}, err
		}
	}
	archive := o.archive(s, mirror)
	if err := archive.Update(ctx); err != nil {
		return Lock{}, err
	}
	lock := Lock{Key: LockKey(s), Mirror: mirror, Containers: map[string][]source.Deb{}}
	kernel := s.Kernel.Package + "/" + s.Kernel.Suite
	var err error
	if lock.Root, err = archive.Resolve(ctx, append([]string{"?essential", kernel}, s.Packages...)); err != nil {
		return Lock{}, err
	}
	if err := checkKernel(ctx, archive, s, lock.Root); err != nil {
		return Lock{}, err
	}
	boot, err := archive.Resolve(ctx, []string{stubPackage, ipxePackage})
	if err != nil {
		return Lock{}, err
	}
	lock.Boot = slices.DeleteFunc(boot, func(d source.Deb) bool { return d.Package != stubPackage && d.Package != ipxePackage })
	for _, c := range s.Containers {
		if len(c.Packages) == 0 {
			continue
		}
		if lock.Containers[c.Reference], err = archive.Resolve(ctx, c.Packages); err != nil {
			return Lock{}, fmt.Errorf("container %s: %w", c.Reference, err)
		}
	}
	for _, m := range s.Modules {
		pin, err := source.Go{Env: o.Env}.Resolve(ctx, m.Module, m.Version)
		if err != nil {
			return Lock{}, err
		}
		lock.Modules = append(lock.Modules, pin)
	}
	return lock, nil
}

func checkKernel(ctx context.Context, a source.Archive, s images.Spec, root []source.Deb) error {
	i := slices.IndexFunc(root, func(d source.Deb) bool { return d.Package == s.Kernel.Package })
	if i < 0 {
		return fmt.Errorf("internal error: the lock has no %s", s.Kernel.Package)
	}
	own, err := a.Candidate(ctx, s.Kernel.Package, s.Distribution.Suite)
	if err != nil {
		return err
	}
	if !source.Newer(ctx, root[i].Version, own) {
		return fmt.Errorf("%w: %s offers %s, %s has %s; name a newer spec.kernel.suite",
			ErrKernelNotNewer, s.Kernel.Suite, root[i].Version, s.Distribution.Suite, own)
	}
	return nil
}

// Fetch brings every package of the lock into the cache, some at a time.
func Fetch(ctx context.Context, s images.Spec, lock Lock, o Options) error {
	archive := o.archive(s, lock.Mirror)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, d := range lock.debs() {
		g.Go(func() error {
			_, err := archive.Fetch(ctx, o.Cache, o.client(), d)
			return err
		})
	}
	return g.Wait()
}

// debs returns every package of the lock once.
func (l Lock) debs() []source.Deb {
	seen := map[string]source.Deb{}
	for _, list := range append(slices.Collect(maps.Values(l.Containers)), l.Root, l.Boot) {
		for _, d := range list {
			seen[d.SHA256] = d
		}
	}
	out := slices.Collect(maps.Values(seen))
	slices.SortFunc(out, func(a, b source.Deb) int { return compareDebs(a, b) })
	return out
}

// lockAndFetch uses the lock of an earlier bake while it answers the recipe
// and its packages can still be had; archives move on, so a vanished package
// is resolved again, and what changed is said.
func lockAndFetch(ctx context.Context, s images.Spec, o Options) (Lock, error) {
	path := filepath.Join(o.Cache.Dir, "locks", LockKey(s)+".json")
	old, err := readLock(path)
	if err == nil {
		err = Fetch(ctx, s, old, o)
		if err == nil {
			return old, nil
		}
		var status *source.StatusError
		if !errors.As(err, &status) || status.Code != http.StatusNotFound {
			return Lock{}, err
		}
		o.logger().Warn("a locked package is gone from its mirror: resolving again", "url", status.URL)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return Lock{}, err
	}
	lock, err := Resolve(ctx, s, o)
	if err != nil {
		return Lock{}, err
	}
	logChanges(o.logger(), old, lock)
	if err := Fetch(ctx, s, lock, o); err != nil {
		return Lock{}, err
	}
	return lock, writeLock(path, lock)
}

// readLock reads a lock.
func readLock(path string) (Lock, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Lock{}, fmt.Errorf("reading the lock: %w", err)
	}
	var l Lock
	if err := json.Unmarshal(b, &l); err != nil {
		return Lock{}, fmt.Errorf("reading the lock %q: %w; delete it to resolve again", path, err)
	}
	return l, nil
}

func writeLock(path string, l Lock) error {
	b, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, b, 0o644)
}

func logChanges(log *slog.Logger, old, lock Lock) {
	if len(old.Root) == 0 {
		return
	}
	before := map[string]string{}
	for _, d := range old.debs() {
		before[d.Package] = d.Version
	}
	for _, d := range lock.debs() {
		if v, ok := before[d.Package]; !ok || v != d.Version {
			log.Warn("locked package changed", "package", d.Package, "was", v, "is", d.Version)
		}
		delete(before, d.Package)
	}
	for _, p := range slices.Sorted(maps.Keys(before)) {
		log.Warn("locked package changed", "package", p, "was", before[p], "is", "gone")
	}
}
