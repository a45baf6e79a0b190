package builder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

// parallelFetches is a number that keeps a mirror's answers coming and that no
// mirror minds.
const parallelFetches = 8

// Fetched says what a fetch found and what it brought.
type Fetched struct {
	// Files and Bytes are all inputs that are files, Cached and CachedBytes
	// those of them that were there.
	Files, Cached      int
	Bytes, CachedBytes int64
	// Modules are the Go modules that programs are compiled from.
	Modules int
}

// Progress says how far a fetch is.
type Progress struct {
	Files, TotalFiles int
	Bytes, TotalBytes int64
}

// A MissingError names inputs that are not on this machine and must not be
// fetched.
type MissingError struct{ Names []string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s missing here, and nothing is fetched offline; run \"k8snode fetch\" for this recipe with a network:\n  %s",
		counted(len(e.Names), "input is", "inputs are"), strings.Join(e.Names, "\n  "))
}

// add takes the names of another one, and returns an error that is none.
func (e *MissingError) add(err error) error {
	var more *MissingError
	if !errors.As(err, &more) {
		return err
	}
	e.Names = append(e.Names, more.Names...)
	return nil
}

func (e *MissingError) err() error {
	if len(e.Names) == 0 {
		return nil
	}
	return e
}

// A GoneError names packages that the mirror does not have any more, and
// container images that their registry has not.
type GoneError struct{ Names []string }

func (e *GoneError) Error() string {
	return fmt.Sprintf("%s gone from the mirrors: %s", counted(len(e.Names), "input is", "inputs are"), strings.Join(e.Names, ", "))
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Fetch brings the packages, downloads and container images of a lock into the
// cache, some at a time. All that is gone is one [GoneError]. With
// o.Offline all that is missing is one [MissingError].
//
// Modules are not fetched: the Go command does that when it compiles what the
// cache has not. [FetchAll] does it before.
func Fetch(ctx context.Context, s images.Spec, lock Lock, o Options) error {
	_, err := fetch(ctx, s, lock, o)
	return err
}

// FetchAll brings everything into the cache that a bake reads, modules and
// those that they are compiled from included, so that the recipe can be baked
// offline. The lock is made anew if need be, as by [Bake].
func FetchAll(ctx context.Context, s images.Spec, o Options) (Fetched, error) {
	lock, got, err := lockAndCount(ctx, s, o)
	var missing MissingError
	if err := missing.add(err); err != nil {
		return Fetched{}, err
	}
	modules, err := fetchModules(ctx, s.Modules, lock, o)
	if err := missing.add(err); err != nil {
		return Fetched{}, err
	}
	got.Modules = len(modules)
	return got, missing.err()
}

// fetchModules returns the names of all modules. Offline, those that are not
// there are one MissingError.
func fetchModules(ctx context.Context, wanted []images.Module, lock Lock, o Options) ([]string, error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	work, err := o.Cache.WorkDir("fetch")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	log := o.logger()
	if o.Offline {
		log = slog.New(slog.DiscardHandler) // nothing is fetched
	}
	log.Debug("running", "step", "fetch modules")
	start := o.now()
	var mu sync.Mutex
	var all []string
	var missing MissingError
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2) // each is parallel in itself
	for _, m := range wanted {
		g.Go(func() error {
			pin, ok := lock.Module(m.Module)
			if !ok {
				return fmt.Errorf("internal error: the lock has no module %s", m.Module)
			}
			names, err := o.goTool().Fetch(ctx, m, pin, work)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, names...)
			if err != nil && o.Offline && ctx.Err() == nil {
				missing.Names = append(missing.Names, fmt.Sprintf("module %s@%s, or one that it is compiled from", pin.Path, pin.Version))
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.Sort(missing.Names)
	if err := missing.err(); err != nil {
		return nil, err
	}
	log.Info("done", "step", "fetch modules", "took", o.since(start))
	slices.Sort(all)
	return slices.Compact(all), nil
}

// CheckOffline returns a [MissingError] with everything that is not on this
// machine and that carrying out the plan needs.
func (p Plan) CheckOffline(ctx context.Context, o Options) error {
	o.Offline = true
	var missing MissingError
	if err := missing.add(Fetch(ctx, p.Recipe.Spec, p.Lock, o)); err != nil {
		return err
	}
	cached := map[string]bool{}
	for _, step := range p.Steps {
		_, cached[step.Name] = o.Cache.Lookup(step.Key)
	}
	var compiled []images.Module
	for _, m := range p.Recipe.Spec.Modules {
		if !cached[stepModule+m.Module] {
			compiled = append(compiled, m)
		}
	}
	_, err := fetchModules(ctx, compiled, p.Lock, o)
	if err := missing.add(err); err != nil {
		return err
	}
	return missing.err()
}

// input is a file that a bake reads.
type input struct {
	file source.File
	// mirrored says that it may be replaced by a newer one.
	mirrored bool
}

func fetch(ctx context.Context, s images.Spec, lock Lock, o Options) (Fetched, error) {
	var got Fetched
	var todo []input
	add := func(in input) {
		got.Files++
		got.Bytes += in.file.Size
		if o.Cache.Has(in.file.SHA256) {
			got.Cached++
			got.CachedBytes += in.file.Size
			return
		}
		todo = append(todo, in)
	}
	for _, d := range lock.debs() {
		add(input{file: source.Archive{}.File(d), mirrored: true})
	}
	for _, f := range lock.Downloads {
		add(input{file: f})
	}
	pulls, err := o.missingImages(ctx, s, lock)
	if err != nil {
		return got, err
	}
	got.Files += len(lock.Images)
	got.Cached += len(lock.Images) - len(pulls)

	if len(todo)+len(pulls) == 0 {
		return got, nil
	}
	if o.Offline {
		missing := &MissingError{}
		for _, in := range todo {
			missing.Names = append(missing.Names, in.file.Name)
		}
		for _, pin := range pulls {
			missing.Names = append(missing.Names, pin.Image)
		}
		return got, missing
	}
	return got, fetchMissing(ctx, s, todo, pulls, o)
}

func fetchMissing(ctx context.Context, s images.Spec, todo []input, pulls []Image, o Options) error {
	mirror := ""
	if slices.ContainsFunc(todo, func(in input) bool { return in.mirrored }) {
		var err error
		if mirror, err = o.mirror(ctx, s); err != nil {
			return err
		}
	}
	m := newMeter(todo, len(pulls), o.Progress)
	o.logger().Debug("running", "step", "fetch", "files", m.at.TotalFiles, "bytes", m.at.TotalBytes)
	start := o.now()
	var gone vanished
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelFetches)
	for i, in := range todo {
		g.Go(func() error {
			h := o.http(s)
			h.Progress = func(_ string, done, total int64) { m.bytes(i, done, total) }
			if in.mirrored {
				in.file.URL = mirror + in.file.URL
			}
			_, err := h.Fetch(ctx, o.Cache, in.file)
			if in.mirrored && isGone(err) {
				gone.add(in.file.Name)
				return nil
			}
			if err == nil {
				m.file()
			}
			return err
		})
	}
	for _, pin := range pulls {
		g.Go(func() error {
			err := o.registry(s).Fetch(ctx, o.Cache, pin.Pinned)
			if pin.tagged() && isGone(err) {
				gone.add(pin.Image)
				return nil
			}
			if err == nil {
				m.file()
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	o.logger().Info("done", "step", "fetch", "took", o.since(start))
	if len(gone.names) > 0 {
		slices.Sort(gone.names)
		return &GoneError{gone.names}
	}
	return nil
}

// vanished collects what is gone: they are told all at once.
type vanished struct {
	mu    sync.Mutex
	names []string
}

func (v *vanished) add(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.names = append(v.names, name)
}

// isGone reports whether a server says that it has no such file.
func isGone(err error) bool {
	var status *source.StatusError
	return errors.As(err, &status) && status.Gone()
}

// meter adds up how far several downloads are.
type meter struct {
	report func(Progress)

	mu   sync.Mutex
	at   Progress
	done []int64
	size []int64
}

func newMeter(todo []input, pulls int, report func(Progress)) *meter {
	m := &meter{report: report, done: make([]int64, len(todo)), size: make([]int64, len(todo))}
	m.at.TotalFiles = len(todo) + pulls
	for i, in := range todo {
		m.size[i] = in.file.Size
		m.at.TotalBytes += in.file.Size
	}
	return m
}

// bytes notes how much of a download is there, and how large it is if that is
// known.
func (m *meter) bytes(i int, done, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at.Bytes += done - m.done[i]
	m.done[i] = done
	if total > m.size[i] {
		m.at.TotalBytes += total - m.size[i]
		m.size[i] = total
	}
	m.tell()
}

func (m *meter) file() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at.Files++
	m.tell()
}

func (m *meter) tell() {
	if m.report != nil {
		m.report(m.at)
	}
}
