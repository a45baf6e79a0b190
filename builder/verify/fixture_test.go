package verify_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/builder/iso"
	"github.com/k8snode/k8snode/builder/sbom"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/builder/uki"
	"github.com/k8snode/k8snode/builder/verify"
	"github.com/k8snode/k8snode/builder/verity"
	"github.com/k8snode/k8snode/images"
)

const (
	release = "7.3.4-test"
	imageID = "1e5b357fad255cc5a4906e3dbb606d0958a305e26232d1f7899e646a99229de9"
	agent   = "the agent"
)

var (
	epoch = time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	zero  = strings.Repeat("0", 64)
)

// entry is one of the root, beside those of the recipe.
type entry struct {
	kind     byte // of package tar
	mode     int64
	uid      int
	body     string // content, or target of a link
	modified time.Time
}

func file(body string) entry { return entry{kind: tar.TypeReg, mode: 0o644, body: body} }

func link(target string) entry { return entry{kind: tar.TypeSymlink, mode: 0o777, body: target} }

// parts are all that an image is made of. A test changes them before the bake:
// then everything fits together, and only the content is wrong.
type parts struct {
	recipe  images.Recipe
	sources fstest.MapFS
	// root has files that the packages have; over it lie those of the recipe.
	root map[string]entry
	// files changes what the recipe's tree has in the root, and only there.
	files func([]tree.Entry) []tree.Entry
	// initramfs are files by their paths.
	initramfs map[string]string
	// kernel is the release in the kernel's header, uname that in the UKI.
	kernel, uname string
	// cmdline changes the command line of one artifact.
	cmdline func(artifact, s string) string
	inputs  []images.Input
	sbom    func(*sbom.Input)
	// manifest changes what is written.
	manifest func(*images.Manifest)
	// made is the time of the squashfs, rootMode that of its root folder.
	made     time.Time
	rootMode string
}

func defaults() *parts {
	p := &parts{
		recipe: images.Recipe{
			APIVersion: images.APIVersion, Kind: images.RecipeKind,
			Metadata: images.Metadata{Name: "test"},
			Spec: images.Spec{
				Epoch:        epoch,
				Distribution: images.Distribution{Suite: "trixie", Mirror: "http://mirror.example"},
				Kernel:       images.Kernel{Package: "linux-image-amd64", Suite: "trixie-backports", Arguments: []string{"console=ttyS0"}},
				Modules: []images.Module{{Module: "example.org/prog", Version: "v1.2.3", Programs: []images.Program{
					{Name: "prog", Package: "example.org/prog", Path: "/usr/bin/prog"},
				}}},
				Containers:    []images.Container{{Reference: "example.org/pause:1", Role: images.RoleAll, Program: "prog", Path: "/pause"}},
				Sysctls:       map[string]string{"net.ipv4.ip_forward": "1", "kernel.panic": "10"},
				KernelModules: []string{"overlay", "br_netfilter"},
				Journald:      map[string]string{"SystemMaxUse": "1G"},
				Units: []images.Unit{
					{Name: "own.service", Source: "own.service", Enabled: true, Dropins: []images.Dropin{{Name: "10.conf", Source: "drop.conf"}}},
					{Name: "off.service", Source: "own.service"},
					{Name: "packaged.service", Enabled: true},
				},
				Users: []images.User{{Name: "etcd", UID: 62379}},
				Files: []images.File{
					{Path: "/etc/secretive", Contents: "x\n", Mode: 0o600},
					{Path: "/etc/folder", Directory: true, Mode: 0o750},
					{Path: "/etc/resolv.conf", Symlink: "../run/resolv.conf"},
				},
				Disk: images.Disk{ESPMiB: 34, RootMiB: 2, SectorSize: 512, CompressionLevel: 1},
			},
		},
		sources: fstest.MapFS{
			"own.service": {Data: []byte("[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n")},
			"drop.conf":   {Data: []byte("[Service]\nNice=1\n")},
		},
		root: map[string]entry{
			"/usr/lib/os-release":                                      file("ID=debian\n"),
			"/etc/os-release":                                          link("../usr/lib/os-release"),
			"/usr/lib/systemd/system/packaged.service":                 file("[Install]\nWantedBy=multi-user.target\n"),
			"/usr/lib/systemd/system/debug-shell.service":              file("[Install]\nWantedBy=sysinit.target\n"),
			"/usr/lib/systemd/system/remote-fs.target":                 file("[Install]\nWantedBy=multi-user.target\n"),
			"/usr/lib/systemd/system-preset/90-systemd.preset":         file("# the distribution's\nenable remote-fs.target\ndisable debug-shell.service\n"),
			"/usr/lib/systemd/system/sysinit.target.wants/dev.service": link("../dev.service"),
			"/usr/lib/sysctl.d/50-default.conf":                        file("kernel.panic = 0\n-net.ipv4.ping_group_range = 0 1\n"),
			"/usr/lib/modules/" + release + "/modules.dep":             file(""),
			"/usr/lib/modules/" + release + "/modules.builtin":         file("kernel/fs/overlayfs/overlay.ko\n"),
			"/usr/lib/modules/" + release + "/net/br-netfilter.ko.xz":  file("m"),
			"/etc/passwd":   file("root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n"),
			"/etc/shadow":   {kind: tar.TypeReg, mode: 0o640, body: "root:*:1::::::\n_chrony:!:1::::::\n"},
			"/usr/bin/sudo": {kind: tar.TypeReg, mode: 0o4755, body: "sudo"},
			"/var/tmp":      {kind: tar.TypeDir, mode: 0o1777},
			"/var/lib/dpkg/status": file("Package: bash\nStatus: install ok installed\nVersion: 5.2\n\n" +
				"Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n"),
			// Enough content that damage has something to hit.
			"/usr/share/noise": file(noise(300_000)),
		},
		files: func(e []tree.Entry) []tree.Entry { return e },
		initramfs: map[string]string{
			"usr/bin/ignition": "ignition", "usr/bin/k8snode-agent": agent,
			"usr/lib/modules/" + release + "/modules.dep": "",
			"usr/share/noise": noise(100_000),
		},
		kernel: release, uname: release,
		cmdline:  func(_, s string) string { return s },
		sbom:     func(*sbom.Input) {},
		manifest: func(*images.Manifest) {},
		made:     epoch, rootMode: "0755",
	}
	p.inputs = []images.Input{
		{Source: "deb", Name: "bash", Version: "5.2", Digest: "sha256:" + zero},
		{Source: "file", Name: "k8snode-agent", Digest: "sha256:" + source.SumBytes([]byte(agent))},
		{Source: "gomod", Name: "example.org/prog", Version: "v1.2.3", Digest: "h1:abc="},
	}
	return p
}

// noise is text that does not compress well and is always the same.
func noise(n int) string {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		sum := sha256.Sum256(binary.LittleEndian.AppendUint32(nil, uint32(i)))
		b.Write(sum[:])
	}
	return b.String()[:n]
}

// bake makes an output folder with the real tools.
func (p *parts) bake(t testing.TB) string {
	t.Helper()
	for _, tool := range append(verify.Tools(), "mksquashfs", iso.Tool) {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed: scripts/host-packages.sh bake installs it, and make test runs that")
		}
	}
	b := baker{parts: p, t: t, dir: filepath.Join(t.TempDir(), "out"), work: t.TempDir()}
	b.all()
	return b.dir
}

type baker struct {
	*parts
	t         testing.TB
	dir, work string
	m         images.Manifest
	real      bool
}

func (b *baker) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *baker) write(name string, data []byte) string {
	b.t.Helper()
	b.must(os.MkdirAll(filepath.Dir(name), 0o755))
	b.must(os.WriteFile(name, data, 0o644))
	return name
}

func (b *baker) out(name string) string { return filepath.Join(b.dir, filepath.FromSlash(name)) }

func (b *baker) all() {
	recipe := b.recipe.WithoutMirrors()
	spec := recipe.Spec
	b.m = images.Manifest{
		APIVersion: images.APIVersion, Kind: images.ManifestKind, Name: recipe.Metadata.Name, ID: imageID,
		Kernel: release, Inputs: b.inputs, Recipe: &recipe,
	}
	b.write(b.out(images.KernelFile), kernel(b.kernel))
	b.write(b.out(images.InitrdFile), initramfs(b.t, b.initramfs))
	b.write(b.out(images.IPXEFile), stub(10))
	if b.real {
		for n, e := range map[string]string{images.KernelFile: "KER", images.InitrdFile: "INI"} {
			data, err := os.ReadFile(os.Getenv(e))
			b.must(err)
			b.write(b.out(n), data)
		}
		b.m.Kernel = "7.3.4+deb13-amd64"
	}
	b.root()
	layout, err := disk.NewLayout(spec.Disk, imageID, b.m.Root.Total)
	b.must(err)
	b.m.Disk = layout.Info
	b.m.Cmdline = images.InstalledCmdline(b.m.Root, b.m.Disk, spec.Kernel.Arguments)
	b.disk(layout)
	b.iso()
	b.sums()
}

func (b *baker) root() {
	entries, err := tree.FromRecipe(b.recipe.Spec, b.sources)
	b.must(err)
	add := func(p, body string, mode fs.FileMode) {
		entries = append(entries, tree.Entry{Path: p, Kind: tree.File, Mode: mode, Content: []byte(body)})
	}
	entries = append(entries, tree.PresetLast())
	add("usr/bin/k8snode-agent", agent, 0o755)
	add("usr/bin/prog", "prog", 0o755)
	add(images.ContainerPath(b.recipe.Spec.Containers[0]), "archive", 0o644)
	b.m.Files, err = tree.Installed(entries)
	b.must(err)

	all, err := tree.New(b.files(entries))
	b.must(err)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	b.must(all.WriteTar(w, epoch))
	for _, name := range b.rootPaths(all) {
		e := b.parts.root[name]
		h := &tar.Header{Name: name[1:], Typeflag: e.kind, Mode: e.mode, Uid: e.uid, ModTime: epoch.Add(-time.Hour), Format: tar.FormatPAX}
		if !e.modified.IsZero() {
			h.ModTime = e.modified
		}
		switch e.kind {
		case tar.TypeReg:
			h.Size = int64(len(e.body))
		case tar.TypeSymlink, tar.TypeLink:
			h.Linkname = e.body
		}
		b.must(w.WriteHeader(h))
		if h.Size > 0 {
			_, err := io.WriteString(w, e.body)
			b.must(err)
		}
	}
	b.must(w.Close())
	name := b.out(images.RootFile)
	cmd := exec.Command("mksquashfs", "-", name, "-tar", "-noappend", "-quiet", "-no-progress", "-comp", "zstd", "-root-mode", b.rootMode)
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", b.made.Unix()))
	cmd.Stdin = &archive
	if b.real {
		data, err := os.ReadFile(os.Getenv("RSQ"))
		b.must(err)
		b.write(name, data)
	} else if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %s", err, out)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	b.must(err)
	defer f.Close()
	st, err := f.Stat()
	b.must(err)
	size := (st.Size() + verity.BlockSize - 1) / verity.BlockSize * verity.BlockSize
	b.must(f.Truncate(size))
	b.m.Root, err = verity.Append(context.Background(), f, size, verity.Options{Salt: sha256.Sum256([]byte(imageID)), UUID: uuid.NewSHA1(uuid.NameSpaceURL, []byte(imageID))})
	b.must(err)
	b.must(f.Close())
}

// rootPaths returns the paths of the root that the tree does not have, in order,
// and adds the folders above them.
func (b *baker) rootPaths(over tree.Tree) []string {
	have := map[string]bool{"/": true}
	for _, e := range over {
		have["/"+e.Path] = true
	}
	for name := range maps.Clone(b.parts.root) {
		for dir := filepath.Dir(name); !have[dir]; dir = filepath.Dir(dir) {
			have[dir] = true
			if _, ok := b.parts.root[dir]; !ok {
				b.parts.root[dir] = entry{kind: tar.TypeDir, mode: 0o755}
			}
		}
	}
	return slices.Sorted(maps.Keys(b.parts.root))
}

func (b *baker) disk(layout disk.Layout) {
	read := func(name string) []byte {
		data, err := os.ReadFile(b.out(name))
		b.must(err)
		return data
	}
	var program bytes.Buffer
	b.must(uki.Write(&program, uki.Image{
		Stub: stub(10), OSRelease: []byte("ID=debian\n"), Cmdline: b.cmdline("uki", b.m.Cmdline), Uname: b.uname,
		Linux: read(images.KernelFile), Initrd: read(images.InitrdFile),
	}))
	sections, err := uki.Sections(bytes.NewReader(program.Bytes()))
	b.must(err)
	extent := func(name string) disk.Extent {
		return disk.Extent{Offset: sections[name].Offset, Size: sections[name].Size}
	}
	content := disk.Content{Boot: b.write(filepath.Join(b.work, "boot.efi"), program.Bytes()), Root: b.out(images.RootFile), Epoch: epoch}
	if b.recipe.Spec.Disk.SectorSize == 512 {
		mbr, core := grub()
		content.BIOS = &disk.BIOS{
			MBR: mbr, Core: core, Cmdline: b.cmdline("grub", b.m.Cmdline),
			Kernel: extent(uki.SectionLinux), Initrd: extent(uki.SectionInitrd),
		}
	}
	b.must(layout.Write(b.out(images.RawFile), content))
	blocks, err := disk.Compress(context.Background(), b.out(images.RawFile), b.out(images.DiskFile))
	b.must(err)
	if b.recipe.Spec.Disk.SectorSize != 512 {
		blocks.SectorSize = b.recipe.Spec.Disk.SectorSize
	}
	b.json(images.BlockMapFile, blocks)
}

func (b *baker) json(name string, v any) {
	data, err := json.MarshalIndent(v, "", "  ")
	b.must(err)
	b.write(b.out(name), append(data, '\n'))
}

func (b *baker) iso() {
	mbr, core := grub()
	work := filepath.Join(b.work, "iso")
	b.must(os.MkdirAll(work, 0o755))
	b.must(iso.Write(context.Background(), b.out(images.ISOFile), iso.Options{
		ID: imageID, Epoch: epoch, Kernel: b.out(images.KernelFile), Initrd: b.out(images.InitrdFile), Root: b.out(images.RootFile),
		GRUB: iso.GRUB{
			MBR: b.write(filepath.Join(b.work, "mbr"), mbr), Core: b.write(filepath.Join(b.work, "core"), core),
			EFI: b.write(filepath.Join(b.work, "efi"), stub(10)),
		},
		Cmdline: b.cmdline("iso", images.LiveCmdline(b.m.Root, "label:"+iso.Label(imageID), b.recipe.Spec.Kernel.Arguments)),
		Work:    work, Env: os.Environ(),
	}))
}

// sums drops what is no output, and writes the lists.
func (b *baker) sums() {
	outputs := map[string]images.Output{
		images.RawFile: images.OutputRaw, images.DiskFile: images.OutputZstd, images.BlockMapFile: images.OutputZstd, images.ISOFile: images.OutputISO,
		images.KernelFile: images.OutputPXE, images.InitrdFile: images.OutputPXE, images.RootFile: images.OutputPXE, images.IPXEFile: images.OutputPXE,
	}
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		if want := b.recipe.Spec.Outputs; len(want) > 0 && !slices.Contains(want, outputs[name]) {
			b.must(os.Remove(b.out(name)))
			continue
		}
		sum, size, err := source.SumFile(b.out(name))
		b.must(err)
		b.m.Artifacts = append(b.m.Artifacts, images.Artifact{Path: name, Size: size, SHA256: sum})
	}
	_ = os.Remove(b.out("pxe")) // if it is empty
	in := sbom.Input{
		Name: b.m.Name, ID: imageID, Epoch: epoch, Version: "test", Suite: "trixie",
		Root:    []source.Deb{{Package: "bash", Version: "5.2", Architecture: "amd64", SHA256: zero}},
		Modules: []sbom.Module{{Pin: source.Module{Path: "example.org/prog", Version: "v1.2.3", Sum: "h1:abc="}}},
		Files:   []sbom.Program{{Name: "k8snode-agent", SHA256: source.SumBytes([]byte(agent))}},
	}
	b.sbom(&in)
	var bill bytes.Buffer
	b.must(sbom.Write(&bill, in))
	b.write(b.out(images.SBOMFile), bill.Bytes())
	b.manifest(&b.m)
	b.json(images.ManifestFile, b.m)
	writeSums(b.t, b.dir)
}

// writeSums writes SHA256SUMS for what is there.
func writeSums(t testing.TB, dir string) {
	t.Helper()
	var lines bytes.Buffer
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == images.SumsFile {
			return err
		}
		sum, _, err := source.SumFile(p)
		rel, _ := filepath.Rel(dir, p)
		fmt.Fprintf(&lines, "%s  %s\n", sum, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, images.SumsFile), lines.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// kernel is a file with a kernel's header, which is all that is read of it.
func kernel(release string) []byte {
	b := []byte(noise(20_000))
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x20e:], 0x1000)
	copy(b[0x1200:], release+" (somebody@somewhere) #1 SMP\x00")
	return b
}

// initramfs is an archive without compression and a compressed one.
func initramfs(t testing.TB, files map[string]string) []byte {
	t.Helper()
	early := cpio(map[string]string{"early": "x"})
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(cpio(files), append(early, make([]byte, 512)...))
}

func cpio(files map[string]string) []byte {
	var b bytes.Buffer
	add := func(name, body string) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1, 0o100644, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.Write(make([]byte, -b.Len()&3))
		b.WriteString(body)
		b.Write(make([]byte, -b.Len()&3))
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		add(name, files[name])
	}
	add("TRAILER!!!", "")
	return b.Bytes()
}

// stub is the smallest EFI program.
func stub(subsystem uint16) []byte {
	const peAt, optSize = 0x80, 240
	b := make([]byte, 0x800)
	copy(b, "MZ")
	le := binary.LittleEndian
	le.PutUint32(b[0x3c:], peAt)
	copy(b[peAt:], "PE\x00\x00")
	le.PutUint16(b[peAt+4:], 0x8664)
	le.PutUint16(b[peAt+6:], 2)
	le.PutUint16(b[peAt+20:], optSize)
	opt := b[peAt+24:]
	le.PutUint16(opt, 0x20b)
	le.PutUint32(opt[32:], 0x1000)
	le.PutUint32(opt[36:], 0x200)
	le.PutUint32(opt[56:], 0x3000)
	le.PutUint32(opt[60:], 0x400)
	le.PutUint16(opt[68:], subsystem)
	le.PutUint32(opt[108:], 16)
	for i, name := range []string{".text", ".sbat"} {
		h := b[peAt+24+optSize+i*40:]
		copy(h, name)
		le.PutUint32(h[8:], 0x150)
		le.PutUint32(h[12:], uint32(0x1000*(i+1)))
		le.PutUint32(h[16:], 0x200)
		le.PutUint32(h[20:], uint32(0x400+0x200*i))
	}
	return b
}

// grub are images with no code but the fields that matter.
func grub() (mbr, core []byte) {
	mbr = bytes.Repeat([]byte{'m'}, 512)
	copy(mbr[0x66:], "\xeb\x05")
	copy(mbr[510:], "\x55\xaa")
	core = bytes.Repeat([]byte{'c'}, 50_000)
	copy(core[0x1f4:], "\x02\x00\x00\x00\x00\x00\x00\x00")
	binary.LittleEndian.PutUint16(core[0x1fc:], uint16((len(core)+511)/512-1))
	copy(core[0x1fe:], "\x20\x08")
	return mbr, core
}
