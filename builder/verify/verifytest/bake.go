package verifytest

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/builder/iso"
	"github.com/k8snode/k8snode/builder/sbom"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/builder/uki"
	"github.com/k8snode/k8snode/builder/verity"
	"github.com/k8snode/k8snode/images"
)

// Tools are the programs of the host that [Parts.Bake] runs.
func Tools() []string { return []string{"mksquashfs", iso.Tool} }

// Bake makes the output folder dir; work is an empty folder. Check is called
// with every error, and does not return if there is one.
func (p *Parts) Bake(ctx context.Context, dir, work string, check func(error)) {
	b := baker{Parts: p, ctx: ctx, check: check, dir: dir, work: work}
	b.all()
}

type baker struct {
	*Parts
	ctx       context.Context //nolint:containedctx // of one call of Bake
	check     func(error)
	dir, work string
	m         images.Manifest
}

func (b *baker) write(name string, data []byte) string {
	b.check(os.MkdirAll(filepath.Dir(name), 0o755))
	b.check(os.WriteFile(name, data, 0o644))
	return name
}

func (b *baker) out(name string) string { return filepath.Join(b.dir, filepath.FromSlash(name)) }

func (b *baker) all() {
	recipe := b.Recipe.WithoutMirrors()
	spec := recipe.Spec
	b.m = images.Manifest{
		APIVersion: images.APIVersion, Kind: images.ManifestKind, Name: recipe.Metadata.Name, ID: ImageID,
		Kernel: Release, Inputs: b.Inputs, Recipe: &recipe,
	}
	b.write(b.out(images.KernelFile), kernel(b.Kernel))
	b.write(b.out(images.InitrdFile), b.initramfs())
	b.write(b.out(images.IPXEFile), Stub(10))
	b.root()
	layout, err := disk.NewLayout(spec.Disk, ImageID, b.m.Root.Total)
	b.check(err)
	b.m.Disk = layout.Info
	b.m.Cmdline = images.InstalledCmdline(b.m.Root, b.m.Disk, spec.Kernel.Arguments)
	b.disk(layout)
	b.iso()
	b.sums()
}

func (b *baker) root() {
	entries, err := tree.FromRecipe(b.Recipe.Spec, b.Sources)
	b.check(err)
	add := func(p, body string, mode fs.FileMode) {
		entries = append(entries, tree.Entry{Path: p, Kind: tree.File, Mode: mode, Content: []byte(body)})
	}
	entries = append(entries, tree.PresetLast())
	add("usr/bin/k8snode-agent", Agent, 0o755)
	add("usr/bin/prog", "prog", 0o755)
	add(images.ContainerPath(b.Recipe.Spec.Containers[0]), "archive", 0o644)
	b.m.Files, err = tree.Installed(entries)
	b.check(err)

	all, err := tree.New(b.Files(entries))
	b.check(err)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	b.check(all.WriteTar(w, Epoch()))
	for _, name := range b.rootPaths(all) {
		e := b.Root[name]
		h := &tar.Header{Name: name[1:], Typeflag: e.Kind, Mode: e.Mode, Uid: e.UID, ModTime: Epoch().Add(-time.Hour), Format: tar.FormatPAX}
		if !e.Modified.IsZero() {
			h.ModTime = e.Modified
		}
		switch e.Kind {
		case tar.TypeReg:
			h.Size = int64(len(e.Body))
		case tar.TypeSymlink, tar.TypeLink:
			h.Linkname = e.Body
		}
		b.check(w.WriteHeader(h))
		if h.Size > 0 {
			_, err := io.WriteString(w, e.Body)
			b.check(err)
		}
	}
	b.check(w.Close())
	name := b.out(images.RootFile)
	cmd := exec.CommandContext(b.ctx, "mksquashfs", "-", name, "-tar", "-noappend", "-quiet", "-no-progress", "-comp", "zstd", "-root-mode", b.RootMode)
	cmd.Env = append(slices.Clone(b.Env), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", b.Made.Unix()))
	cmd.Stdin = &archive
	if out, err := cmd.CombinedOutput(); err != nil {
		b.check(fmt.Errorf("running mksquashfs: %w: %s", err, out))
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	b.check(err)
	defer f.Close()
	st, err := f.Stat()
	b.check(err)
	size := (st.Size() + verity.BlockSize - 1) / verity.BlockSize * verity.BlockSize
	b.check(f.Truncate(size))
	b.m.Root, err = verity.Append(b.ctx, f, size, verity.Options{Salt: sha256.Sum256([]byte(ImageID)), UUID: uuid.NewSHA1(uuid.NameSpaceURL, []byte(ImageID))})
	b.check(err)
	b.check(f.Close())
}

// rootPaths returns the paths of the root that the tree does not have, in order,
// and adds the folders above them.
func (b *baker) rootPaths(over tree.Tree) []string {
	have := map[string]bool{"/": true}
	for _, e := range over {
		have["/"+e.Path] = true
	}
	for name := range maps.Clone(b.Root) {
		for dir := filepath.Dir(name); !have[dir]; dir = filepath.Dir(dir) {
			have[dir] = true
			if _, ok := b.Root[dir]; !ok {
				b.Root[dir] = Entry{Kind: tar.TypeDir, Mode: 0o755}
			}
		}
	}
	return slices.Sorted(maps.Keys(b.Root))
}

func (b *baker) disk(layout disk.Layout) {
	read := func(name string) []byte {
		data, err := os.ReadFile(b.out(name))
		b.check(err)
		return data
	}
	var program bytes.Buffer
	b.check(uki.Write(&program, uki.Image{
		Stub: Stub(10), OSRelease: []byte("ID=debian\n"), Cmdline: b.Cmdline("uki", b.m.Cmdline), Uname: b.Uname,
		Linux: read(images.KernelFile), Initrd: read(images.InitrdFile),
	}))
	sections, err := uki.Sections(bytes.NewReader(program.Bytes()))
	b.check(err)
	extent := func(name string) disk.Extent {
		return disk.Extent{Offset: sections[name].Offset, Size: sections[name].Size}
	}
	content := disk.Content{Boot: b.write(filepath.Join(b.work, "boot.efi"), program.Bytes()), Root: b.out(images.RootFile), Epoch: Epoch()}
	if b.Recipe.Spec.Disk.SectorSize == 512 {
		mbr, core := grub()
		content.BIOS = &disk.BIOS{
			MBR: mbr, Core: core, Cmdline: b.Cmdline("grub", b.m.Cmdline),
			Kernel: extent(uki.SectionLinux), Initrd: extent(uki.SectionInitrd),
		}
	}
	b.check(layout.Write(b.out(images.RawFile), content))
	blocks, err := disk.Compress(b.ctx, b.out(images.RawFile), b.out(images.DiskFile))
	b.check(err)
	if b.Recipe.Spec.Disk.SectorSize != 512 {
		blocks.SectorSize = b.Recipe.Spec.Disk.SectorSize
	}
	b.json(images.BlockMapFile, blocks)
}

func (b *baker) json(name string, v any) {
	data, err := json.MarshalIndent(v, "", "  ")
	b.check(err)
	b.write(b.out(name), append(data, '\n'))
}

func (b *baker) iso() {
	mbr, core := grub()
	o := iso.Options{
		ID: ImageID, Epoch: Epoch(), Kernel: b.out(images.KernelFile), Initrd: b.out(images.InitrdFile),
		GRUB: iso.GRUB{
			MBR: b.write(filepath.Join(b.work, "mbr"), mbr), Core: b.write(filepath.Join(b.work, "core"), core),
			EFI: b.write(filepath.Join(b.work, "efi"), Stub(10)),
		},
		Work: filepath.Join(b.work, "installer"), Env: b.Env,
		Cmdline: b.Cmdline("installer", images.InstallerCmdline(iso.InstallerLabel(ImageID))),
	}
	b.check(iso.Write(b.ctx, b.out(images.InstallerFile), o))
	o.Root, o.Work = b.out(images.RootFile), filepath.Join(b.work, "iso")
	o.Cmdline = b.Cmdline("iso", images.LiveCmdline(b.m.Root, "label:"+iso.Label(ImageID), b.Recipe.Spec.Kernel.Arguments))
	b.check(iso.Write(b.ctx, b.out(images.ISOFile), o))
}

// sums drops what is no output, and writes the lists.
func (b *baker) sums() {
	outputs := map[string]images.Output{
		images.RawFile: images.OutputRaw, images.DiskFile: images.OutputZstd, images.BlockMapFile: images.OutputZstd, images.ISOFile: images.OutputISO,
		images.InstallerFile: images.OutputInstaller,
		images.KernelFile:    images.OutputPXE, images.InitrdFile: images.OutputPXE, images.RootFile: images.OutputPXE, images.IPXEFile: images.OutputPXE,
	}
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		if want := b.Recipe.Spec.Outputs; len(want) > 0 && !slices.Contains(want, outputs[name]) {
			b.check(os.Remove(b.out(name)))
			continue
		}
		sum, size, err := source.SumFile(b.out(name))
		b.check(err)
		b.m.Artifacts = append(b.m.Artifacts, images.Artifact{Path: name, Size: size, SHA256: sum})
	}
	_ = os.Remove(b.out("pxe")) // if it is empty
	in := sbom.Input{
		Name: b.m.Name, ID: ImageID, Epoch: Epoch(), Suite: "trixie",
		Root:    []source.Deb{{Package: "bash", Version: "5.2", Architecture: "amd64", SHA256: Zero}},
		Modules: []sbom.Module{{Pin: source.Module{Path: "example.org/prog", Version: "v1.2.3", Sum: "h1:abc="}}},
		Files:   []sbom.Program{{Name: "k8snode-agent", SHA256: source.SumBytes([]byte(Agent))}},
	}
	b.SBOM(&in)
	var bill bytes.Buffer
	b.check(sbom.Write(&bill, in))
	b.write(b.out(images.SBOMFile), bill.Bytes())
	b.Manifest(&b.m)
	b.json(images.ManifestFile, b.m)
	b.check(WriteSums(b.dir))
}

func (b *baker) initramfs() []byte {
	data, err := Archive(b.Initramfs)
	b.check(err)
	return data
}

// WriteSums writes SHA256SUMS for what is in a folder.
func WriteSums(dir string) error {
	var lines bytes.Buffer
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == images.SumsFile || d.Name() == images.SignatureFile {
			return err
		}
		sum, _, err := source.SumFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		fmt.Fprintf(&lines, "%s  %s\n", sum, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, images.SumsFile), lines.Bytes(), 0o644)
}
