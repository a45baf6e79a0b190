package builder

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/k8snode/k8snode/builder/iso"
	"github.com/k8snode/k8snode/builder/rootfs"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/verify"
	"github.com/k8snode/k8snode/images"
)

// A Timing says how long a step took.
type Timing struct {
	Step   string        `json:"step"`
	Took   time.Duration `json:"took"`
	Cached bool          `json:"cached"`
}

// A Result is a finished bake.
type Result struct {
	Manifest images.Manifest
	Timings  []Timing
}

// Bake makes the image of a recipe in o.Out. The recipe's sources are read
// from dir.
func Bake(ctx context.Context, r images.Recipe, dir fs.FS, o Options) (Result, error) {
	if err := source.LookTools(Tools()...); err != nil {
		return Result{}, err
	}
	release, err := LockOutput(o.Out)
	if err != nil {
		return Result{}, err
	}
	defer release()
	b := &build{o: o, dir: dir}

	// 1. Pin and fetch every input.
	var lock Lock
	err = b.timed("lock and fetch", func() (err error) {
		lock, err = lockAndFetch(ctx, r.Spec, o)
		return err
	})
	if err != nil {
		return Result{}, err
	}
	// 2. Compute what is to be done.
	host, err := inspectHost(ctx, o)
	if err != nil {
		return Result{}, err
	}
	if b.plan, err = NewPlan(r, dir, lock, host); err != nil {
		return Result{}, err
	}
	m, done := published(o.Out, b.plan.ID)
	if done && o.Check == CheckNone && o.Provision == nil {
		return Result{Manifest: m, Timings: b.timings}, nil
	}
	if o.Offline {
		if err := b.plan.CheckOffline(ctx, o); err != nil {
			return Result{}, err
		}
	}
	// 3. Make the pieces of the root: packages, programs, containers.
	pieces, err := b.pieces(ctx)
	if err != nil {
		return Result{}, err
	}
	// 4. Let the caller change what they make, which makes another image.
	if o.Provision != nil {
		work, err := o.Cache.WorkDir("provision")
		if err != nil {
			return Result{}, err
		}
		defer os.RemoveAll(work)
		if pieces.provisioned, err = b.provision(ctx, pieces, work); err != nil {
			return Result{}, err
		}
		if pieces.provisioned != nil {
			if b.plan, err = b.plan.Provisioned(pieces.provisioned.changes); err != nil {
				return Result{}, err
			}
		}
		if m, done = published(o.Out, b.plan.ID); done && o.Check == CheckNone {
			return Result{Manifest: m, Timings: b.timings}, nil
		}
	}
	// 5. Make the boot files and the layers of the root.
	parts, err := b.parts(ctx, pieces)
	if err != nil {
		return Result{}, err
	}
	// 6. Put them together, verify the result, and let it appear.
	if !done {
		if m, err = b.publish(ctx, parts); err != nil {
			return Result{}, err
		}
	}
	// 7. Do it again, when asked, and compare.
	if o.Check != CheckNone {
		if err := b.timed("check", func() error { return b.check(ctx, parts, m) }); err != nil {
			return Result{}, err
		}
	}
	return Result{Manifest: m, Timings: b.timings}, nil
}

// Tools are the host programs that a bake runs.
func Tools() []string {
	tools := append(rootfs.BaseTools(), "apt-get", "apt-cache", "dpkg", "go", "gcc", iso.Tool)
	return append(tools, verify.Tools()...)
}

// build carries out one plan.
type build struct {
	o    Options
	dir  fs.FS // of the recipe
	plan Plan

	mu      sync.Mutex
	timings []Timing
}

func (b *build) timed(step string, f func() error) error {
	b.o.logger().Debug("running", "step", step)
	start := b.o.now()
	err := f()
	if err == nil {
		took := b.o.now().Sub(start)
		b.record(Timing{Step: step, Took: took})
		b.o.logger().Info("done", "step", step, "took", took.Round(time.Millisecond))
	}
	return err
}

func (b *build) record(t Timing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.timings = append(b.timings, t)
}

// cached returns the outputs of a step: those of the cache, or those that run
// makes. Run gets an empty folder and returns files by name; they move into
// the cache.
func (b *build) cached(step string, run func(work string) (map[string]string, error)) (source.Outputs, error) {
	key := b.plan.steps[step]
	known, ok := b.o.Cache.Lookup(key)
	if ok && b.o.Check != CheckSteps {
		b.record(Timing{Step: step, Cached: true})
		b.o.logger().Debug("cached", "step", step)
		return known, nil
	}
	out := source.Outputs{}
	err := b.timed(step, func() error {
		work, err := b.o.Cache.WorkDir("step")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		files, err := run(work)
		if err != nil {
			return err
		}
		for name, file := range files {
			digest, _, err := source.SumFile(file)
			if err != nil {
				return err
			}
			if ok && known[name] != digest {
				offset, err := firstDifference(b.o.Cache.Path(known[name]), file)
				if err != nil {
					return err
				}
				return &DifferenceError{Artifact: step + ", output " + name, Offset: offset}
			}
			if out[name], err = b.o.Cache.Adopt(file); err != nil {
				return err
			}
		}
		return b.o.Cache.Record(key, out)
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", step, err)
	}
	return out, nil
}
