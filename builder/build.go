package builder

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/k8snode/k8snode/builder/container"
	"github.com/k8snode/k8snode/builder/rootfs"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/tree"
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
	b := build{o: o}

	// 1. Pin and fetch every input.
	var lock Lock
	err := b.timed("lock and fetch", func() (err error) {
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
	// 3. The distribution's root.
	base, err := b.base(ctx)
	if err != nil {
		return Result{}, err
	}
	// 4. Programs of Go modules.
	programs, err := b.programs(ctx)
	if err != nil {
		return Result{}, err
	}
	// 5. Container images of some of them.
	containers, err := b.containers(ctx, programs)
	if err != nil {
		return Result{}, err
	}
	// 6. The initramfs, with Ignition and the agent.
	boot, err := b.initramfs(ctx, base, programs[ignitionProgram])
	if err != nil {
		return Result{}, err
	}
	// 7. The root that a machine runs from.
	root, err := b.root(ctx, base, programs, containers)
	if err != nil {
		return Result{}, err
	}
	// 8. The disk image.
	image, err := b.disk(ctx, boot, root)
	if err != nil {
		return Result{}, err
	}
	// 9. The output folder.
	m, err := b.publish(boot, image)
	if err != nil {
		return Result{}, err
	}
	return Result{Manifest: m, Timings: b.timings}, nil
}

// Tools are the host programs that a bake runs.
func Tools() []string {
	return append(rootfs.BaseTools(), "apt-get", "apt-cache", "dpkg", "go", "gcc")
}

func inspectHost(ctx context.Context, o Options) (Host, error) {
	toolchain, err := source.Go{Env: o.Env}.Toolchain(ctx)
	if err != nil {
		return Host{}, err
	}
	agent, _, err := source.SumFile(o.Agent)
	if err != nil {
		return Host{}, fmt.Errorf("reading the agent: %w; build it with \"make build\"", err)
	}
	return Host{Toolchain: toolchain, AgentSHA256: agent}, nil
}

// build carries out one plan.
type build struct {
	o       Options
	plan    Plan
	timings []Timing
}

func (b *build) timed(step string, f func() error) error {
	start := b.o.now()
	err := f()
	if err == nil {
		took := b.o.now().Sub(start)
		b.timings = append(b.timings, Timing{Step: step, Took: took})
		b.o.logger().Info("done", "step", step, "took", took.Round(time.Millisecond))
	}
	return err
}

// cached returns the outputs of a step: those of the cache, or those that run
// makes. Run gets an empty folder and returns files by name; they move into
// the cache.
func (b *build) cached(step string, run func(work string) (map[string]string, error)) (source.Outputs, error) {
	key := b.plan.steps[step]
	if out, ok := b.o.Cache.Lookup(key); ok {
		b.timings = append(b.timings, Timing{Step: step, Cached: true})
		b.o.logger().Debug("cached", "step", step)
		return out, nil
	}
	b.o.logger().Info("running", "step", step)
	var out source.Outputs
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
		out = source.Outputs{}
		for name, file := range files {
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

func (b *build) base(ctx context.Context) (string, error) {
	spec := b.plan.Recipe.Spec
	out, err := b.cached(stepBase, func(work string) (map[string]string, error) {
		tar, err := rootfs.Base(ctx, rootfs.BaseOptions{
			Suite: spec.Distribution.Suite, Debs: b.plan.Lock.Root, Cache: b.o.Cache,
			Epoch: spec.Epoch, Work: work, Env: b.o.Env,
		})
		return map[string]string{"tar": tar}, err
	})
	if err != nil {
		return "", err
	}
	return b.o.Cache.Path(out["tar"]), nil
}

// programs returns the digest of every program by its name.
func (b *build) programs(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	for i, m := range b.plan.Recipe.Spec.Modules {
		out, err := b.cached(stepModule+m.Module, func(work string) (map[string]string, error) {
			err := source.Go{Env: b.o.Env, Jobs: b.o.Jobs}.Build(ctx, m, b.plan.Lock.Modules[i], work)
			files := map[string]string{}
			for _, p := range m.Programs {
				files[source.ProgramName(p)] = filepath.Join(work, source.ProgramName(p))
			}
			return files, err
		})
		if err != nil {
			return nil, err
		}
		for name, digest := range out {
			all[name] = digest
		}
	}
	return all, nil
}

// containers returns the digest of every container image's archive by its
// reference.
func (b *build) containers(ctx context.Context, programs map[string]string) (map[string]string, error) {
	all := map[string]string{}
	for _, c := range b.plan.Recipe.Spec.Containers {
		out, err := b.cached(stepContainer+c.Reference, func(work string) (map[string]string, error) {
			o := container.Options{
				Container: c, Program: b.o.Cache.Path(programs[c.Program]),
				Epoch: b.plan.Recipe.Spec.Epoch, Work: work, Env: b.o.Env,
			}
			for _, d := range b.plan.Lock.Containers[c.Reference] {
				o.Debs = append(o.Debs, b.o.Cache.Path(d.SHA256))
			}
			tar, err := container.Build(ctx, o)
			return map[string]string{"tar": tar}, err
		})
		if err != nil {
			return nil, err
		}
		all[c.Reference] = out["tar"]
	}
	return all, nil
}

func (b *build) initramfs(ctx context.Context, base, ignition string) (source.Outputs, error) {
	return b.cached(stepInitramfs, func(work string) (map[string]string, error) {
		boot, err := rootfs.Initramfs(ctx, rootfs.InitramfsOptions{
			Base: base, Ignition: b.o.Cache.Path(ignition), Agent: b.o.Agent,
			Epoch: b.plan.Recipe.Spec.Epoch, Work: work, Env: b.o.Env,
		})
		if err != nil {
			return nil, err
		}
		version := filepath.Join(work, "version")
		release := filepath.Join(work, "os-release")
		b1, err := os.ReadFile(filepath.Join(work, "root/usr/lib/os-release"))
		return map[string]string{"kernel": boot.Kernel, "initrd": boot.Initrd, "version": version, "os-release": release},
			errors.Join(err, os.WriteFile(version, []byte(boot.Version), 0o644), os.WriteFile(release, b1, 0o644))
	})
}

func (b *build) root(ctx context.Context, base string, programs, containers map[string]string) (string, error) {
	out, err := b.cached(stepRoot, func(work string) (map[string]string, error) {
		top, err := b.top(programs, containers)
		if err != nil {
			return nil, err
		}
		spec := b.plan.Recipe.Spec
		img, err := rootfs.Squashfs(ctx, rootfs.SquashfsOptions{
			Base: base, Top: top, Level: spec.Disk.CompressionLevel, Epoch: spec.Epoch,
			Work: work, Jobs: b.o.Jobs, Env: b.o.Env,
		})
		return map[string]string{"squashfs": img}, err
	})
	if err != nil {
		return "", err
	}
	return b.o.Cache.Path(out["squashfs"]), nil
}

// top is what lies over the distribution's root.
func (b *build) top(programs, containers map[string]string) (tree.Tree, error) {
	entries := append([]tree.Entry(nil), b.plan.Entries...)
	entries = append(entries, tree.PresetLast())
	add := func(dst, src string, mode fs.FileMode) error {
		e, err := tree.FromFile(strings.TrimPrefix(dst, "/"), src, mode)
		entries = append(entries, e)
		return err
	}
	if err := add("usr/bin/k8snode-agent", b.o.Agent, 0o755); err != nil {
		return nil, err
	}
	for _, m := range b.plan.Recipe.Spec.Modules {
		for _, p := range m.Programs {
			if p.Path == "" {
				continue
			}
			digest := programs[source.ProgramName(p)]
			if err := add(p.Path, b.o.Cache.Path(digest), 0o755); err != nil {
				return nil, err
			}
		}
	}
	for _, c := range b.plan.Recipe.Spec.Containers {
		digest := containers[c.Reference]
		if err := add(containerPath(c), b.o.Cache.Path(digest), 0o644); err != nil {
			return nil, err
		}
	}
	return tree.New(entries)
}

// debFile returns the content of one file of a package.
func debFile(ctx context.Context, deb, name string, env []string) ([]byte, error) {
	r, err := source.Contents(ctx, deb, env)
	if err != nil {
		return nil, err
	}
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("looking for /%s in package %q: not there", name, path.Base(deb))
		}
		if err != nil {
			return nil, fmt.Errorf("reading package %q: %w", path.Base(deb), err)
		}
		if tree.Clean(h.Name) == name && h.Typeflag == tar.TypeReg {
			return io.ReadAll(r)
		}
	}
}
