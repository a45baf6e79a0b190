package builder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

// ErrKernelNotNewer says that the kernel of the recipe is not newer than the
// one of the base suite.
var ErrKernelNotNewer = errors.New("the kernel is not newer than the base suite's")

// Resolve asks the archive, the module proxy, the registries and the servers of
// downloads what the recipe's names mean today. Names of packages that do not
// exist are one error for all of them, made of a [source.PackageError] each.
func Resolve(ctx context.Context, s images.Spec, o Options) (Lock, error) {
	return resolve(ctx, s, o, Lock{})
}

// resolve takes pins of an earlier lock that hold whatever the day is: the
// same module at the same version, the same download, the same image.
func resolve(ctx context.Context, s images.Spec, o Options, keep Lock) (Lock, error) {
	mirror, err := o.mirror(ctx, s)
	if err != nil {
		return Lock{}, err
	}
	o.logger().Debug("running", "step", "resolve", "mirror", mirror)
	start := o.now()
	r := resolver{spec: s, o: o, archive: o.archive(s, mirror), keep: keep}
	lock := Lock{Key: LockKey(s), Requests: requests(s), Containers: map[string][]source.Deb{}}
	for _, part := range []func(context.Context, *Lock) error{r.packages, r.downloads, r.images, r.modules} {
		if err := part(ctx, &lock); err != nil {
			return Lock{}, fmt.Errorf("locking: %w", err)
		}
	}
	o.logger().Info("done", "step", "resolve", "mirror", mirror, "took", o.since(start))
	return lock, nil
}

type resolver struct {
	spec    images.Spec
	o       Options
	archive source.Archive
	keep    Lock
}

// kept reports whether the earlier lock answers a request.
func (r resolver) kept(request string) bool { return slices.Contains(r.keep.Requests, request) }

func (r resolver) packages(ctx context.Context, lock *Lock) error {
	unlock, err := r.archive.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.archive.Update(ctx); err != nil {
		return err
	}
	kernel := r.spec.Kernel.Package + "/" + r.spec.Kernel.Suite
	names := slices.Sorted(slices.Values(r.spec.Packages))
	var missing []error
	resolve := func(requests []string) []source.Deb {
		debs, err := r.archive.Resolve(ctx, requests)
		if err != nil {
			missing = append(missing, err)
		}
		return debs
	}
	lock.Root = resolve(append([]string{"?essential", kernel}, names...))
	lock.Boot = slices.DeleteFunc(resolve(bootPackages()), func(d source.Deb) bool {
		return !slices.Contains(bootPackages(), d.Package)
	})
	for _, c := range r.spec.Containers {
		if len(c.Packages) > 0 {
			lock.Containers[c.Reference] = resolve(slices.Sorted(slices.Values(c.Packages)))
		}
	}
	if len(missing) > 0 {
		return errors.Join(missing...)
	}
	return r.checkKernel(ctx, lock.Root)
}

func (r resolver) checkKernel(ctx context.Context, root []source.Deb) error {
	kernel, base := r.spec.Kernel, r.spec.Distribution.Suite
	i := slices.IndexFunc(root, func(d source.Deb) bool { return d.Package == kernel.Package })
	if i < 0 {
		return fmt.Errorf("internal error: the lock has no %s", kernel.Package)
	}
	own, err := r.archive.Candidate(ctx, kernel.Package, base)
	if err != nil {
		return err
	}
	if !source.Newer(ctx, root[i].Version, own) {
		return fmt.Errorf("%w: %s offers %s, %s has %s; name a newer spec.kernel.suite",
			ErrKernelNotNewer, kernel.Suite, root[i].Version, base, own)
	}
	return nil
}

func (r resolver) downloads(ctx context.Context, lock *Lock) error {
	var ask []images.Download
	for _, d := range r.spec.Downloads {
		if f, ok := r.keep.Download(d); ok && r.kept(downloadRequest(d)) {
			lock.Downloads = append(lock.Downloads, f)
		} else {
			ask = append(ask, d)
		}
	}
	files, err := r.o.http(r.spec).Resolve(ctx, ask)
	if err != nil {
		return err
	}
	lock.Downloads = append(lock.Downloads, files...)
	slices.SortFunc(lock.Downloads, func(a, b source.File) int {
		return cmp.Or(cmp.Compare(a.URL, b.URL), cmp.Compare(a.SHA256, b.SHA256))
	})
	lock.Downloads = slices.Compact(lock.Downloads)
	return nil
}

func (r resolver) images(ctx context.Context, lock *Lock) error {
	for _, c := range r.spec.Containers {
		if c.Image == "" {
			continue
		}
		if _, done := lock.Image(c.Image); done {
			continue
		}
		pin, ok := r.keep.Image(c.Image)
		if !ok {
			var err error
			if pin, err = r.o.resolveImage(ctx, r.spec, c.Image); err != nil {
				return err
			}
		}
		lock.Images = append(lock.Images, pin)
	}
	slices.SortFunc(lock.Images, func(a, b Image) int { return cmp.Compare(a.Image, b.Image) })
	return nil
}

func (r resolver) modules(ctx context.Context, lock *Lock) error {
	for _, m := range r.spec.Modules {
		pin, ok := r.keep.Module(m.Module)
		if !ok || pin.Version != m.Version {
			var err error
			if pin, err = r.o.goTool().Resolve(ctx, m.Module, m.Version); err != nil {
				return err
			}
		}
		lock.Modules = append(lock.Modules, pin)
	}
	return nil
}
