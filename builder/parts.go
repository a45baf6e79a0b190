package builder

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/k8snode/k8snode/builder/container"
	"github.com/k8snode/k8snode/builder/rootfs"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

// pieces are what a root is made of: outputs of cached steps.
type pieces struct {
	// base is the archive of the packages.
	base string
	// made are the outputs of the steps that fill layers, by step.
	made map[string]source.Outputs
	// programs are files, by the name of the program.
	programs map[string]string
	// provisioned is nil for a root that nobody changed.
	provisioned *provisioned
}

// parts are what an image is put together from: outputs of cached steps.
type parts struct {
	pieces
	boot source.Outputs
	// layers are packed layers of the root, from the lowest up.
	layers []string
}

// pieces makes what the cache does not hold of the root. Steps that need
// nothing of each other run side by side.
func (b *build) pieces(ctx context.Context) (pieces, error) {
	p := pieces{made: map[string]source.Outputs{}, programs: map[string]string{}}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { p.base, err = b.base(gctx); return err })
	g.Go(func() error { return b.programs(gctx, p.made) })
	if err := g.Wait(); err != nil {
		return pieces{}, err
	}
	for name, from := range b.plan.origin {
		p.programs[name] = b.o.Cache.Path(p.made[from.step][from.name])
	}
	return p, nil
}

// parts makes the boot files, the containers and the layers of the root.
func (b *build) parts(ctx context.Context, p pieces) (parts, error) {
	all := parts{pieces: p}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		all.boot, err = b.boot(gctx, p)
		return err
	})
	g.Go(func() error {
		if err := b.containers(gctx, p); err != nil {
			return err
		}
		var err error
		all.layers, err = b.layers(gctx, p)
		return err
	})
	return all, g.Wait()
}

func (b *build) base(ctx context.Context) (string, error) {
	spec := b.plan.Recipe.Spec
	out, err := b.cached(stepBase, func(work string) (map[string]string, error) {
		tar, err := rootfs.Base(ctx, rootfs.BaseOptions{
			Suite: spec.Distribution.Suite, Debs: b.plan.Lock.Root, Cache: b.o.Cache,
			Epoch: spec.Epoch, Work: work, Env: b.o.Env,
		})
		return map[string]string{outputFile: tar}, err
	})
	if err != nil {
		return "", err
	}
	return b.o.Cache.Path(out[outputFile]), nil
}

// programs compiles or takes every program, and records the outputs by step.
func (b *build) programs(ctx context.Context, made map[string]source.Outputs) error {
	for i, m := range b.plan.Recipe.Spec.Modules {
		step := stepModule + m.Module
		out, err := b.cached(step, func(work string) (map[string]string, error) {
			err := b.o.goTool().Build(ctx, m, b.plan.Lock.Modules[i], work)
			files := map[string]string{}
			for _, p := range m.Programs {
				files[source.ProgramName(p)] = filepath.Join(work, source.ProgramName(p))
			}
			return files, err
		})
		if err != nil {
			return err
		}
		made[step] = out
	}
	for _, d := range b.plan.Recipe.Spec.Downloads {
		digest, err := b.download(ctx, d)
		if err != nil {
			return err
		}
		made[stepDownload+d.Name] = source.Outputs{outputFile: digest}
	}
	return nil
}

// download returns the digest of a download's file, which is in the cache.
func (b *build) download(ctx context.Context, d images.Download) (string, error) {
	file, _ := b.plan.Lock.Download(d) // NewPlan has seen to it that it is there
	if d.Member == "" {
		return file.SHA256, nil
	}
	return b.o.Cache.Extract(ctx, file.Name, file.SHA256, d.Member)
}

// containers makes the archive of every container image.
func (b *build) containers(ctx context.Context, p pieces) error {
	for _, c := range b.plan.Recipe.Spec.Containers {
		step := stepContainer + c.Reference
		if p.made[step] != nil {
			continue // a root that was unpacked has it already
		}
		out, err := b.cached(step, func(work string) (map[string]string, error) {
			tar, err := b.container(ctx, c, p.programs[c.Program], work)
			return map[string]string{outputFile: tar}, err
		})
		if err != nil {
			return err
		}
		p.made[step] = out
	}
	return nil
}

// container makes the archive of one container image: of a program, or from a
// registry or a folder.
func (b *build) container(ctx context.Context, c images.Container, program, work string) (string, error) {
	epoch := b.plan.Recipe.Spec.Epoch
	switch {
	case c.Program != "":
		o := container.Options{Container: c, Program: program, Epoch: epoch, Work: work, Env: b.o.Env}
		for _, d := range b.plan.Lock.Containers[c.Reference] {
			o.Debs = append(o.Debs, b.o.Cache.Path(d.SHA256))
		}
		return container.Build(ctx, o)
	case c.Image != "":
		pinned, _ := b.plan.Lock.Image(c.Image) // NewPlan has seen to it that it is there
		return container.Pack(ctx, b.o.Cache, container.PackOptions{
			Reference: c.Reference, Digest: pinned.digest(), Epoch: epoch, Work: work,
		})
	default:
		digest, err := container.Import(ctx, b.o.Cache, b.dir, c.Layout)
		if err != nil {
			return "", err
		}
		return container.Pack(ctx, b.o.Cache, container.PackOptions{Reference: c.Reference, Digest: digest, Epoch: epoch, Work: work})
	}
}

// boot makes the initramfs, and takes the kernel and GRUB's images.
func (b *build) boot(ctx context.Context, p pieces) (source.Outputs, error) {
	return b.cached(stepBoot, func(work string) (map[string]string, error) {
		o := rootfs.InitramfsOptions{
			Base: p.base, Ignition: p.programs[ignitionProgram], Agent: b.o.Agent, ImageKeys: b.plan.Recipe.Spec.ImageKeys,
			Epoch: b.plan.Recipe.Spec.Epoch, Work: work, Env: b.o.Env,
		}
		if p.provisioned != nil {
			o.Changed, o.Removed = p.provisioned.changed, removed(p.provisioned.changes)
		}
		boot, err := rootfs.Initramfs(ctx, o)
		if err != nil {
			return nil, err
		}
		grub, err := rootfs.Grub(ctx, rootfs.GrubOptions{
			Root: boot.Root, Epoch: b.plan.Recipe.Spec.Epoch, Work: work, Env: b.o.Env,
		})
		if err != nil {
			return nil, err
		}
		version := filepath.Join(work, "version")
		release := filepath.Join(work, "os-release")
		b1, err := os.ReadFile(filepath.Join(boot.Root, "usr/lib/os-release"))
		files := map[string]string{
			"kernel": boot.Kernel, "initrd": boot.Initrd, "version": version, "os-release": release,
			"grub-disk-mbr": grub.DiskMBR, "grub-disk-core": grub.DiskCore,
			"grub-iso-mbr": grub.ISOMBR, "grub-iso-core": grub.ISOCore, "grub-efi": grub.EFI,
		}
		return files,
			errors.Join(err, os.WriteFile(version, []byte(boot.Version), 0o644), os.WriteFile(release, b1, 0o644))
	})
}
