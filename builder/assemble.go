package builder

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/builder/iso"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/squashfs"
	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/builder/uki"
	"github.com/k8snode/k8snode/builder/verity"
	"github.com/k8snode/k8snode/images"
)

// image is an output folder in the making: what is known of it so far.
type image struct {
	// dir becomes the output folder, work holds what does not get into it.
	dir, work string
	kernel    string // release
	rootFile  string
	root      images.RootInfo
	info      images.DiskInfo
	cmdline   string
}

// imageDir is the folder of the temporary one that becomes the output.
const imageDir = "image"

func (i image) path(name string) string { return filepath.Join(i.dir, filepath.FromSlash(name)) }

// assemble puts the parts together in the folder "image" of tmp, an empty
// folder, and checks the result. It is not cached: it costs seconds, and its
// outputs are the largest files of all.
func (b *build) assemble(ctx context.Context, p parts, tmp string) (images.Manifest, error) {
	img := image{dir: filepath.Join(tmp, imageDir), work: filepath.Join(tmp, "work")}
	for _, dir := range []string{img.dir, img.work} {
		if err := errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, 0o755)); err != nil {
			return images.Manifest{}, err
		}
	}
	var err error
	if img.kernel, err = b.kernelVersion(p.boot); err != nil {
		return images.Manifest{}, err
	}
	// 1. The root and its hash tree.
	if err := b.timed("root", func() error { return b.root(ctx, p, &img) }); err != nil {
		return images.Manifest{}, fmt.Errorf("making the root: %w", err)
	}
	// 2. What carries the root, as the disk that it is for.
	layout, err := disk.NewLayout(b.plan.Recipe.Spec.Disk, b.plan.ID, img.root.Total)
	if err != nil {
		return images.Manifest{}, err
	}
	img.info = layout.Info
	img.cmdline = images.InstalledCmdline(img.root, layout.Info, b.plan.Recipe.Spec.Kernel.Arguments)
	g, gctx := errgroup.WithContext(ctx)
	if b.wants(images.OutputRaw) || b.wants(images.OutputZstd) {
		g.Go(func() error { return b.timed("disk", func() error { return b.disk(gctx, p, img, layout) }) })
	}
	if b.wants(images.OutputISO) {
		g.Go(func() error { return b.timed("iso", func() error { return b.iso(gctx, p, img) }) })
	}
	if b.wants(images.OutputInstaller) {
		g.Go(func() error { return b.timed("installer", func() error { return b.installer(gctx, p, img) }) })
	}
	if b.wants(images.OutputPXE) {
		g.Go(func() error { return b.timed("pxe", func() error { return b.pxe(gctx, p, img) }) })
	}
	if err := g.Wait(); err != nil {
		return images.Manifest{}, err
	}
	// 3. What describes it.
	var m images.Manifest
	if err := b.timed("describe", func() (err error) { m, err = b.describe(ctx, p, img); return err }); err != nil {
		return images.Manifest{}, fmt.Errorf("describing the image: %w", err)
	}
	// 4. Every promise, from the finished files alone.
	return m, b.timed("verify", func() error { return b.verify(ctx, img, m) })
}

func (b *build) wants(o images.Output) bool {
	return slices.Contains(b.plan.Recipe.Spec.Outputs, o)
}

// disk makes the raw image and its compressed form.
func (b *build) disk(ctx context.Context, p parts, img image, layout disk.Layout) error {
	program, err := b.uki(ctx, p, img)
	if err != nil {
		return err
	}
	raw := img.path(images.RawFile)
	if !b.wants(images.OutputRaw) {
		raw = filepath.Join(img.work, images.RawFile)
	}
	content, err := b.diskContent(p, img, program)
	if err != nil {
		return err
	}
	if err := layout.Write(raw, content); err != nil {
		return err
	}
	if !b.wants(images.OutputZstd) {
		return nil
	}
	blocks, err := disk.Compress(ctx, raw, img.path(images.DiskFile))
	if err != nil {
		return err
	}
	blocks.SectorSize = img.info.SectorSize
	return writeJSON(img.path(images.BlockMapFile), blocks)
}

func (b *build) uki(ctx context.Context, p parts, img image) (string, error) {
	u := uki.Image{Cmdline: img.cmdline, Uname: img.kernel}
	var err error
	if u.Stub, err = b.bootFile(ctx, stubPackage, stubFile); err != nil {
		return "", err
	}
	for name, dst := range map[string]*[]byte{"kernel": &u.Linux, "initrd": &u.Initrd, "os-release": &u.OSRelease} {
		if *dst, err = os.ReadFile(b.o.Cache.Path(p.boot[name])); err != nil {
			return "", err
		}
	}
	out := filepath.Join(img.work, "boot.efi")
	f, err := os.Create(out)
	if err != nil {
		return "", err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	if err := uki.Write(w, u); err != nil {
		return "", fmt.Errorf("joining kernel and initramfs: %w", err)
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	return out, f.Close()
}

// pxe places the files of a network boot; the root is there already.
func (b *build) pxe(ctx context.Context, p parts, img image) error {
	for name, digest := range map[string]string{images.KernelFile: p.boot["kernel"], images.InitrdFile: p.boot["initrd"]} {
		if err := b.copyOut(img.path(name), digest); err != nil {
			return err
		}
	}
	ipxe, err := b.bootFile(ctx, ipxePackage, ipxeFile)
	if err != nil {
		return err
	}
	return os.WriteFile(img.path(images.IPXEFile), ipxe, 0o644)
}

// copyOut copies a file of the cache, checking its digest on the way.
func (b *build) copyOut(dst, digest string) error {
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	r, err := b.o.Cache.Open(digest)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

// root makes the file that every artifact carries: the squashfs and behind it
// its hash tree.
func (b *build) root(ctx context.Context, p parts, img *image) error {
	img.rootFile = img.path(images.RootFile)
	if !b.wants(images.OutputPXE) {
		img.rootFile = filepath.Join(img.work, "rootfs.squashfs")
	}
	if err := os.MkdirAll(filepath.Dir(img.rootFile), 0o755); err != nil {
		return err
	}
	layers, err := b.openLayers(ctx, p, *img)
	defer closeLayers(layers)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(img.rootFile, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := squashfs.Assemble(ctx, f, layers, squashfs.AssembleOptions{Epoch: b.plan.Recipe.Spec.Epoch}); err != nil {
		return err
	}
	if img.root, err = b.hashTree(ctx, f); err != nil {
		return err
	}
	return f.Close()
}

// hashTree appends the tree to the squashfs in f.
func (b *build) hashTree(ctx context.Context, f *os.File) (images.RootInfo, error) {
	st, err := f.Stat()
	if err != nil {
		return images.RootInfo{}, err
	}
	id, err := uuid.Parse(disk.GUID(b.plan.ID, "verity"))
	if err != nil {
		return images.RootInfo{}, err
	}
	return verity.Append(ctx, f, st.Size(), verity.Options{Salt: sha256.Sum256([]byte("k8snode root " + b.plan.ID)), UUID: id})
}

// diskContent gathers what is written onto the disk.
func (b *build) diskContent(p parts, img image, program string) (disk.Content, error) {
	c := disk.Content{Boot: program, Root: img.rootFile, Epoch: b.plan.Recipe.Spec.Epoch}
	if img.info.SectorSize != disk.DefaultSectorSize {
		return c, nil // no BIOS starts from such a disk
	}
	f, err := os.Open(program)
	if err != nil {
		return c, err
	}
	defer f.Close()
	sections, err := uki.Sections(f)
	if err != nil {
		return c, err
	}
	bios := disk.BIOS{
		Cmdline: img.cmdline,
		Kernel:  disk.Extent(sections[uki.SectionLinux]),
		Initrd:  disk.Extent(sections[uki.SectionInitrd]),
	}
	if bios.MBR, err = os.ReadFile(b.o.Cache.Path(p.boot["grub-disk-mbr"])); err != nil {
		return c, err
	}
	if bios.Core, err = os.ReadFile(b.o.Cache.Path(p.boot["grub-disk-core"])); err != nil {
		return c, err
	}
	c.BIOS = &bios
	return c, nil
}

// iso makes the live ISO.
func (b *build) iso(ctx context.Context, p parts, img image) error {
	o := b.isoOptions(p)
	o.Root, o.Work = img.rootFile, filepath.Join(img.work, "live")
	o.Cmdline = images.LiveCmdline(img.root, "label:"+iso.Label(b.plan.ID), b.plan.Recipe.Spec.Kernel.Arguments)
	return iso.Write(ctx, img.path(images.ISOFile), o)
}

// installer makes the ISO without a root, which takes a whole disk from a server.
func (b *build) installer(ctx context.Context, p parts, img image) error {
	o := b.isoOptions(p)
	o.Work = filepath.Join(img.work, "installer")
	o.Cmdline = images.InstallerCmdline(iso.InstallerLabel(b.plan.ID))
	return iso.Write(ctx, img.path(images.InstallerFile), o)
}

// isoOptions are what every ISO has.
func (b *build) isoOptions(p parts) iso.Options {
	return iso.Options{
		ID: b.plan.ID, Epoch: b.plan.Recipe.Spec.Epoch,
		Kernel: b.o.Cache.Path(p.boot["kernel"]), Initrd: b.o.Cache.Path(p.boot["initrd"]),
		GRUB: iso.GRUB{
			MBR:  b.o.Cache.Path(p.boot["grub-iso-mbr"]),
			Core: b.o.Cache.Path(p.boot["grub-iso-core"]),
			EFI:  b.o.Cache.Path(p.boot["grub-efi"]),
		},
		Env: b.o.Env,
	}
}

func (b *build) kernelVersion(boot source.Outputs) (string, error) {
	v, err := os.ReadFile(b.o.Cache.Path(boot["version"]))
	return string(v), err
}

func (b *build) bootFile(ctx context.Context, pkg, name string) ([]byte, error) {
	for _, d := range b.plan.Lock.Boot {
		if d.Package == pkg {
			return debFile(ctx, b.o.Cache.Path(d.SHA256), name, b.o.Env)
		}
	}
	return nil, fmt.Errorf("internal error: the lock has no %s", pkg)
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
