package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/images/signature"
)

// Options of [Verify]. The zero value is usable.
type Options struct {
	// Recipe and Inputs are what the caller knows that the image was made of;
	// nil takes the manifest's word for it. Mirrors do not matter.
	Recipe *images.Recipe
	Inputs []images.Input
	// Files are those that the recipe itself describes, with their content, as
	// package tree makes them of it.
	Files []images.InstalledFile
	// Keys are those of which one must have signed the image; without any,
	// nobody needs to.
	Keys signature.Keys
	// BuildPaths are folders of the machine that baked, whose names no file of
	// /etc may have.
	BuildPaths []string
	// Work is a folder for temporary files; empty is the system's.
	Work string
	// Env of the commands that are run, "KEY=value"; normally the caller's.
	Env []string
	// Jobs limits parallel work; zero is one job for each processor.
	Jobs int
	// Now measures checks; nil leaves their times zero.
	Now func() time.Time
	// Logger gets one line for each check; nil discards them.
	Logger *slog.Logger
	// Progress is told how much is hashed, one call at a time, so often that
	// it should be quick; nil is told nothing.
	Progress func(Progress)
}

// Progress says how far the hashing is, which is the longest of what is done.
type Progress struct {
	Files, TotalFiles int
	Bytes, TotalBytes int64
}

// Tools are the programs of the host that [Verify] runs.
func Tools() []string { return []string{"unsquashfs", "fsck.fat"} }

// Verify checks the output folder dir. What is wrong with the image is in the
// report; an error says that it could not be checked.
func Verify(ctx context.Context, dir string, o Options) (Report, error) {
	if err := source.LookTools(Tools()...); err != nil {
		return Report{}, err
	}
	if st, err := os.Stat(dir); err != nil {
		return Report{}, fmt.Errorf("verifying an image: %w", err)
	} else if !st.IsDir() {
		return Report{}, fmt.Errorf("verifying an image: %q is not a folder", dir)
	}
	work, err := os.MkdirTemp(o.Work, "k8snode-verify-")
	if err != nil {
		return Report{}, fmt.Errorf("verifying an image: %w", err)
	}
	defer os.RemoveAll(work)
	v := newVerifier(ctx, dir, work, o)
	defer v.close()
	if err := v.all(); err != nil {
		return Report{}, fmt.Errorf("verifying an image: %w", err)
	}
	v.report.Findings, v.report.Notes = v.sorted()
	return v.report, nil
}

// verifier checks one folder.
type verifier struct {
	collector
	ctx       context.Context //nolint:containedctx // of one call of Verify
	dir, work string
	o         Options
	report    Report
	text      []byte // of the manifest
	m         images.Manifest
	recipe    images.Recipe
	tasks     *errgroup.Group
	opened    []io.Closer

	// What artifacts have of the same things, the first of each the one that
	// the others are compared with.
	kernels, initrds, roots []piece
	osRelease               []osRelease

	progress Progress
	mu       sync.Mutex // of progress and of the report's timings
}

func newVerifier(ctx context.Context, dir, work string, o Options) *verifier {
	if o.Jobs <= 0 {
		o.Jobs = runtime.GOMAXPROCS(0)
	}
	if o.Now == nil {
		o.Now = func() time.Time { return time.Time{} }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	v := &verifier{dir: dir, work: work, o: o}
	v.tasks, v.ctx = errgroup.WithContext(ctx)
	v.tasks.SetLimit(o.Jobs)
	return v
}

func (v *verifier) close() {
	for _, c := range v.opened {
		c.Close() //nolint:errcheck // only read
	}
}

// all runs the checks. Those that read much become tasks, the longest first.
func (v *verifier) all() error {
	if !v.readManifest() {
		return nil // and nothing can be said about the rest
	}
	v.signed()
	v.checkManifest()
	v.checkFolder()
	if err := v.disk(); err != nil {
		return err
	}
	v.isos()
	v.pxe()
	v.root()
	v.initramfs()
	v.copies()
	v.inventory()
	return v.tasks.Wait()
}

// file returns the path of an artifact.
func (v *verifier) file(name string) string { return filepath.Join(v.dir, filepath.FromSlash(name)) }

// exists reports whether the folder has an artifact; that it should have it is
// the concern of checkFolder.
func (v *verifier) exists(name string) bool {
	st, err := os.Stat(v.file(name))
	return err == nil && st.Mode().IsRegular()
}

// open opens an artifact until the end of all checks.
func (v *verifier) open(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err == nil {
		v.opened = append(v.opened, f)
	}
	return f, err
}

// wants reports whether the recipe asks for an output.
func (v *verifier) wants(o images.Output) bool {
	return len(v.recipe.Spec.Outputs) == 0 || slices.Contains(v.recipe.Spec.Outputs, o)
}

// now runs a short check. Its error is a finding about the artifact.
func (v *verifier) now(check, artifact string, f func() error) bool {
	err := v.timed(v.began(check), f)
	if err != nil && !errors.Is(err, errReported) {
		v.add(artifact, copyAgain, "%v", err)
	}
	return err == nil
}

// later runs a long check beside others. Its error is a finding about the
// artifact, unless all was called off.
func (v *verifier) later(check, artifact string, f func() error) {
	i := v.began(check)
	v.tasks.Go(func() error {
		err := v.timed(i, f)
		if ctx := v.ctx.Err(); ctx != nil {
			return ctx
		}
		if err != nil && !errors.Is(err, errReported) {
			v.add(artifact, copyAgain, "%v", err)
		}
		return nil
	})
}

// errReported says that the findings are added already.
var errReported = errors.New("reported")

// began gives a check its place among the timings.
func (v *verifier) began(check string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	i := slices.IndexFunc(v.report.Timings, func(t Timing) bool { return t.Check == check })
	if i < 0 {
		i = len(v.report.Timings)
		v.report.Timings = append(v.report.Timings, Timing{Check: check})
	}
	return i
}

func (v *verifier) timed(i int, f func() error) error {
	start := v.o.Now()
	err := f()
	took := v.o.Now().Sub(start)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.report.Timings[i].Took += took
	v.o.Logger.Debug("checked", "check", v.report.Timings[i].Check, "took", took)
	return err
}

// hashed reports progress.
func (v *verifier) hashed(files int, bytes int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.progress.Files += files
	v.progress.Bytes += bytes
	if v.o.Progress != nil {
		v.o.Progress(v.progress)
	}
}
