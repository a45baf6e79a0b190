package verify_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/iso"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/verify/verifytest"
	"github.com/k8snode/k8snode/images"
)

const mib = 1 << 20

// Places on the disk of the test's recipe.
const (
	biosAt = 1 * mib
	espAt  = 2 * mib
	seedAt = 36 * mib
	rootAt = 37 * mib
	diskTo = 40 * mib
)

// A folder is a baked one that a test may damage.
type folder struct {
	t   *testing.T
	dir string
}

func (f folder) path(name string) string { return filepath.Join(f.dir, filepath.FromSlash(name)) }

// flip inverts one byte. A negative offset counts from the end.
func (f folder) flip(name string, at int64) {
	f.t.Helper()
	file, err := os.OpenFile(f.path(name), os.O_RDWR, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	if at < 0 {
		st, err := file.Stat()
		if err != nil {
			f.t.Fatal(err)
		}
		at += st.Size()
	}
	b := make([]byte, 1)
	if _, err := file.ReadAt(b, at); err != nil {
		f.t.Fatal(err)
	}
	b[0] ^= 0xff
	if _, err := file.WriteAt(b, at); err != nil {
		f.t.Fatal(err)
	}
}

// find returns where text is in a file, counted from the n-th time.
func (f folder) find(name, text string, n int) int64 {
	f.t.Helper()
	b, err := os.ReadFile(f.path(name))
	if err != nil {
		f.t.Fatal(err)
	}
	at := 0
	for ; ; n-- {
		i := bytes.Index(b[at:], []byte(text))
		if i < 0 {
			f.t.Fatalf("%s has no %q", name, text)
		}
		if at += i; n == 0 {
			return int64(at)
		}
		at++
	}
}

// catalog returns where the boot catalog of the ISO is.
func catalog(f folder) int64 {
	b, err := os.ReadFile(f.path(images.ISOFile))
	if err != nil {
		f.t.Fatal(err)
	}
	return int64(binary.LittleEndian.Uint32(b[17*2048+0x47:])) * 2048
}

// area returns where the embed area of the installer is.
func area(f folder) int64 {
	image, err := iso.Open(f.path(images.InstallerFile))
	if err != nil {
		f.t.Fatal(err)
	}
	defer image.Close()
	at, err := image.Area()
	if err != nil {
		f.t.Fatal(err)
	}
	return at.Offset
}

// secondFAT returns where the second allocation table of the EFI system
// partition is.
func secondFAT(f folder) int64 {
	b, err := os.ReadFile(f.path(images.RawFile))
	if err != nil {
		f.t.Fatal(err)
	}
	le := binary.LittleEndian
	return espAt + 512*int64(uint32(le.Uint16(b[espAt+14:]))+le.Uint32(b[espAt+36:]))
}

func (f folder) truncate(name string, to int64) {
	f.t.Helper()
	if err := os.Truncate(f.path(name), to); err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) read(name string) string {
	b, err := os.ReadFile(f.path(name))
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

func (f folder) write(name, text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path(name), []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) remove(name string) {
	f.t.Helper()
	if err := os.Remove(f.path(name)); err != nil {
		f.t.Fatal(err)
	}
}

func (f folder) blockMap(change func(*images.BlockMap)) { editJSON(f, images.BlockMapFile, change) }

func (f folder) manifest(change func(*images.Manifest)) { editJSON(f, images.ManifestFile, change) }

func editJSON[T any](f folder, name string, change func(*T)) {
	f.t.Helper()
	var v T
	b, err := os.ReadFile(f.path(name))
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	change(&v)
	if b, err = json.Marshal(v); err != nil {
		f.t.Fatal(err)
	}
	f.write(name, string(b))
}

// sign makes the lists fit the files again: what then is found, is not found by
// its digest.
func (f folder) sign() {
	f.t.Helper()
	f.manifest(func(m *images.Manifest) {
		for i, a := range m.Artifacts {
			sum, size, err := source.SumFile(f.path(a.Path))
			if err == nil {
				m.Artifacts[i].SHA256, m.Artifacts[i].Size = sum, size
			}
		}
	})
	f.sums()
}

// sums writes SHA256SUMS anew.
func (f folder) sums() {
	f.t.Helper()
	if err := verifytest.WriteSums(f.dir); err != nil {
		f.t.Fatal(err)
	}
}

// TestDamage damages one thing after another of a good folder, and corrects
// the lists of digests.
func TestDamage(t *testing.T) {
	good := bake(t, verifytest.Default(os.Environ()))
	m := func() (m images.Manifest) {
		folder{t, good}.manifest(func(have *images.Manifest) { m = *have })
		return m
	}()
	folder{t, good}.sums()
	for _, tc := range []struct {
		name   string
		damage func(folder)
		want   []string
	}{
		{"nothing", func(folder) {}, nil},
		{"backup GPT header", func(f folder) { f.flip(images.RawFile, diskTo-512+40) }, []string{
			"disk.raw: checking the partition table: backup header: its checksum is OTHER and should be OTHER; copy the folder again, or bake again",
			"disk.raw.zst: the block at 37748736 is not what disk.raw has there; copy the folder again, or bake again",
		}},
		{"backup GPT entries", func(f folder) { f.flip(images.RawFile, diskTo-33*512+56) }, []string{
			"disk.raw: checking the partition table: backup header: the checksum of the entries is OTHER and should be OTHER; copy the folder again, or bake again",
			"disk.raw.zst: the block at 37748736 is not what disk.raw has there; copy the folder again, or bake again",
		}},
		{"primary GPT header", func(f folder) { f.flip(images.RawFile, 512+72) }, []string{
			"disk.raw: checking the partition table: primary header: its checksum is OTHER and should be OTHER; copy the folder again, or bake again",
			"disk.raw.zst: the block at 0 is not what disk.raw has there; copy the folder again, or bake again",
		}},
		{"no GPT", func(f folder) { f.flip(images.RawFile, 512) }, []string{
			"disk.raw: checking the partition table: there is no primary GPT header; copy the folder again, or bake again",
			"disk.raw.zst: the block at 0 is not what disk.raw has there; copy the folder again, or bake again",
		}},
		{"another GPT", func(f folder) {
			f.manifest(func(m *images.Manifest) { m.Disk.Partitions[2].Label = "seed" })
		}, []string{
			"disk.raw: its partitions are not those of the manifest; copy the folder again, or bake again",
			"manifest.json: the disk is not the one that spec.disk and the image's ID make; bake again",
		}},
		{"boot sector", func(f folder) { f.flip(images.RawFile, 0x5c) }, []string{
			"disk.raw: the boot sector starts sector 2303, and GRUB is in sector 2048; copy the folder again, or bake again",
			"disk.raw.zst: the block at 0 is not what disk.raw has there; copy the folder again, or bake again",
		}},
		{"GRUB's first sector", func(f folder) { f.flip(images.RawFile, biosAt+500) }, []string{
			"disk.raw: GRUB continues in sector 2302, and it should in 2049; copy the folder again, or bake again",
			"disk.raw.zst: the block at 0 is not what disk.raw has there; copy the folder again, or bake again",
		}},
		{"GRUB's length", func(f folder) { f.flip(images.RawFile, biosAt+509) }, []string{
			"disk.raw: GRUB has 65377 sectors more, and its partition 2047; copy the folder again, or bake again",
			"disk.raw.zst: the block at 0 is not what disk.raw has there; copy the folder again, or bake again",
		}},
		{"the second FAT", func(f folder) { f.flip(images.RawFile, secondFAT(f)+200) }, []string{
			"disk.raw: the EFI system partition is damaged: fsck.fat says: FATs differ but appear to be intact.; copy the folder again, or bake again",
			"disk.raw.zst: the block at 0 is not what disk.raw has there; copy the folder again, or bake again",
		}},
		{"the UKI's kernel", func(f folder) { f.flip(images.RawFile, f.find(images.RawFile, "HdrS", 0)) }, []string{
			"disk.raw: the kernel in the UKI is not pxe/vmlinuz: they differ at byte 514; copy the folder again, or bake again",
			"disk.raw: the kernel that GRUB starts is not pxe/vmlinuz: they differ at byte 514; copy the folder again, or bake again",
			"disk.raw.zst: the block at 0 is not what disk.raw has there; copy the folder again, or bake again",
		}},
		{"the seed partition", func(f folder) { f.flip(images.RawFile, seedAt+100) }, []string{
			"disk.raw: the seed partition has a byte at 37748836 that is not zero; copy the folder again, or bake again",
			"disk.raw.zst: the block at 37748736 is not what disk.raw has there; copy the folder again, or bake again",
		}},
		{"behind the root", func(f folder) { f.flip(images.RawFile, rootAt+2*mib-1) }, []string{
			"disk.raw: the root partition, behind the root, has a byte at 40894463 that is not zero; copy the folder again, or bake again",
			"disk.raw.zst: the block at 37748736 is not what disk.raw has there; copy the folder again, or bake again",
		}},
		{"before the partitions", func(f folder) { f.flip(images.RawFile, 500<<10) }, []string{
			"disk.raw: the space before the first partition has a byte at 512000 that is not zero; copy the folder again, or bake again",
			"disk.raw.zst: the block at 0 is not what disk.raw has there; copy the folder again, or bake again",
		}},
		{"the root partition", func(f folder) { f.flip(images.RawFile, rootAt+5000) }, []string{
			"disk.raw: the root partition is not pxe/rootfs.squashfs: they differ at byte 5000; copy the folder again, or bake again",
			"disk.raw.zst: the block at 37748736 is not what disk.raw has there; copy the folder again, or bake again",
		}},
		{"the squashfs", func(f folder) { f.flip(images.RootFile, 5000) }, []string{
			"disk.raw: the root partition is not pxe/rootfs.squashfs: they differ at byte 5000; copy the folder again, or bake again",
			"live.iso: /live/rootfs.squashfs is not pxe/rootfs.squashfs: they differ at byte 5000; copy the folder again, or bake again",
			"pxe/rootfs.squashfs: dm-verity: the block at byte 4096 has another hash than the tree; copy the folder again, or bake again",
		}},
		{"the beginning of the squashfs", func(f folder) { f.flip(images.RootFile, 0) }, []string{
			"disk.raw: the root partition is not pxe/rootfs.squashfs: they differ at byte 0; copy the folder again, or bake again",
			"live.iso: /live/rootfs.squashfs is not pxe/rootfs.squashfs: they differ at byte 0; copy the folder again, or bake again",
			"pxe/rootfs.squashfs: dm-verity: the block at byte 0 has another hash than the tree; copy the folder again, or bake again",
			"pxe/rootfs.squashfs: unsquashfs cannot read it: Can't find a valid SQUASHFS superblock on pxe/rootfs.squashfs; copy the folder again, or bake again",
		}},
		{"the hash tree", func(f folder) { f.flip(images.RootFile, m.Root.Total-1) }, []string{
			"disk.raw: the root partition is not pxe/rootfs.squashfs: they differ at byte LAST; copy the folder again, or bake again",
			"live.iso: /live/rootfs.squashfs is not pxe/rootfs.squashfs: they differ at byte LAST; copy the folder again, or bake again",
			"pxe/rootfs.squashfs: dm-verity: the root hash is OTHER and should be HASH; copy the folder again, or bake again",
		}},
		{"the verity superblock", func(f folder) { f.flip(images.RootFile, m.Root.Size) }, []string{
			"disk.raw: the root partition is not pxe/rootfs.squashfs: they differ at byte SIZE; copy the folder again, or bake again",
			"live.iso: /live/rootfs.squashfs is not pxe/rootfs.squashfs: they differ at byte SIZE; copy the folder again, or bake again",
			"pxe/rootfs.squashfs: dm-verity: there is no superblock at SIZE; copy the folder again, or bake again",
		}},
		{"a short root", func(f folder) { f.truncate(images.RootFile, m.Root.Size) }, []string{
			"disk.raw: the root partition has TOTAL bytes, and pxe/rootfs.squashfs has SIZE; bake again",
			"live.iso: /live/rootfs.squashfs has TOTAL bytes, and pxe/rootfs.squashfs has SIZE; bake again",
			"pxe/rootfs.squashfs: the root has SIZE bytes, and the manifest says TOTAL, of which SIZE are the squashfs; copy the folder again, or bake again",
		}},
		{"the initramfs", func(f folder) { f.flip(images.InitrdFile, 3000) }, []string{
			"disk.raw: the initramfs in the UKI is not pxe/initrd.img: they differ at byte 3000; copy the folder again, or bake again",
			"disk.raw: the initramfs that GRUB loads is not pxe/initrd.img: they differ at byte 3000; copy the folder again, or bake again",
			"installer.iso: /boot/initrd.img is not pxe/initrd.img: they differ at byte 3000; copy the folder again, or bake again",
			"live.iso: /boot/initrd.img is not pxe/initrd.img: they differ at byte 3000; copy the folder again, or bake again",
			"pxe/initrd.img: reading the initramfs: CRC check failed; copy the folder again, or bake again",
		}},
		{"the beginning of the initramfs", func(f folder) { f.flip(images.InitrdFile, 0) }, []string{
			"disk.raw: the initramfs in the UKI is not pxe/initrd.img: they differ at byte 0; copy the folder again, or bake again",
			"disk.raw: the initramfs that GRUB loads is not pxe/initrd.img: they differ at byte 0; copy the folder again, or bake again",
			"installer.iso: /boot/initrd.img is not pxe/initrd.img: they differ at byte 0; copy the folder again, or bake again",
			"live.iso: /boot/initrd.img is not pxe/initrd.img: they differ at byte 0; copy the folder again, or bake again",
			"pxe/initrd.img: reading the initramfs: neither a cpio archive nor one compressed with zstd begins with cf3730373031; copy the folder again, or bake again",
		}},
		{"a kernel that is none", func(f folder) { f.write(images.KernelFile, strings.Repeat("x", 20_000)) }, []string{
			"disk.raw: the kernel in the UKI is not pxe/vmlinuz: they differ at byte 0; copy the folder again, or bake again",
			"disk.raw: the kernel that GRUB starts is not pxe/vmlinuz: they differ at byte 0; copy the folder again, or bake again",
			"installer.iso: /boot/vmlinuz is not pxe/vmlinuz: they differ at byte 0; copy the folder again, or bake again",
			"live.iso: /boot/vmlinuz is not pxe/vmlinuz: they differ at byte 0; copy the folder again, or bake again",
			"pxe/vmlinuz: reading the kernel's header: it is no Linux kernel; copy the folder again, or bake again",
		}},
		{"an iPXE that is none", func(f folder) { f.write(images.IPXEFile, strings.Repeat("x", 20_000)) }, []string{
			"pxe/ipxe.efi: it is no EFI program: unrecognized PE machine: 0x7878; copy the folder again, or bake again",
		}},
		{"a block", func(f folder) { f.flip(images.DiskFile, 2000) }, []string{
			"disk.raw.zst: the block at 0 is damaged: its SHA-256 is not the map's; copy the folder again, or bake again",
		}},
		{"a block too few", func(f folder) {
			f.blockMap(func(b *images.BlockMap) { b.Blocks = b.Blocks[:len(b.Blocks)-1] })
		}, []string{
			"disk.blockmap.json: its blocks are STORED bytes of disk.raw.zst, which has FILE; copy the folder again, or bake again",
		}},
		{"a block's digest", func(f folder) {
			f.blockMap(func(b *images.BlockMap) { b.Blocks[0].SHA256 = verifytest.Zero })
		}, []string{
			"disk.raw.zst: the block at 0 is damaged: its SHA-256 is not the map's; copy the folder again, or bake again",
		}},
		{"a block's place", func(f folder) {
			f.blockMap(func(b *images.BlockMap) { b.Blocks[1].Offset = 0 })
		}, []string{
			"disk.blockmap.json: block 1 has 4194304 bytes at 0, behind 4194304 of 41943040; copy the folder again, or bake again",
		}},
		{"a map of another disk", func(f folder) {
			f.blockMap(func(b *images.BlockMap) { b.SectorSize, b.Blocks[0].Offset = 4096, 512 })
		}, []string{
			"disk.blockmap.json: it has no block at 0, which holds the partition table; copy the folder again, or bake again",
			"disk.blockmap.json: it is version 1 of a disk of 41943040 bytes with sectors of 4096, and the disk has 41943040 and 512; copy the folder again, or bake again",
		}},
		{"a map that is none", func(f folder) { f.write(images.BlockMapFile, "[") }, []string{
			"disk.blockmap.json: it cannot be read: unexpected end of JSON input; copy the folder again, or bake again",
		}},
		{"a gap", func(f folder) { f.flip(images.RawFile, 20*mib) }, []string{
			"disk.blockmap.json: no block has the byte at 20971520 of disk.raw, which is not zero; copy the folder again, or bake again",
		}},
		{"a short compressed disk", func(f folder) { f.truncate(images.DiskFile, 9000) }, []string{
			"disk.blockmap.json: its blocks are STORED bytes of disk.raw.zst, which has FILE; copy the folder again, or bake again",
		}},
		{"the ISO's volume", func(f folder) { f.flip(images.ISOFile, 16*2048+1) }, []string{
			"live.iso: opening the ISO: reading the volume descriptor: not an ISO 9660 file system; copy the folder again, or bake again",
		}},
		{"the ISO's label", func(f folder) { f.flip(images.ISOFile, f.find(images.ISOFile, iso.Label(verifytest.ImageID), 0)+9) }, []string{
			`live.iso: its label is "K8SNODE-2\xc69AA5AF", and the command line looks for "K8SNODE-299AA5AF"; bake again`,
		}},
		{"the ISO's boot catalog", func(f folder) { f.flip(images.ISOFile, catalog(f)+30) }, []string{
			"live.iso: opening the ISO: reading the boot catalog: its first entry is damaged; copy the folder again, or bake again",
		}},
		{"the ISO's backup GPT", func(f folder) { f.flip(images.ISOFile, -512+40) }, []string{
			"live.iso: checking the ISO: checking the partition table: backup header: its checksum is OTHER and should be OTHER; copy the folder again, or bake again",
		}},
		{"the ISO's initramfs", func(f folder) { f.flip(images.ISOFile, f.find(images.ISOFile, "070701", 0)+3000) }, []string{
			"live.iso: /boot/initrd.img is not pxe/initrd.img: they differ at byte 3000; copy the folder again, or bake again",
		}},
		{"a short ISO", func(f folder) { f.truncate(images.ISOFile, f.find(images.ISOFile, "hsqs", 0)+12288) }, []string{
			"live.iso: /live/rootfs.squashfs is not pxe/rootfs.squashfs: they differ at byte 12288; copy the folder again, or bake again",
			"live.iso: checking the ISO: checking the partition table: backup header: sector LAST is no header, opening the EFI system partition: reading the boot sector: EOF; copy the folder again, or bake again",
		}},
		{"an ISO that is none", func(f folder) { f.write(images.ISOFile, "x") }, []string{
			"live.iso: opening the ISO: reading the volume descriptor: EOF; copy the folder again, or bake again",
		}},
		{"the installer's embed area", func(f folder) { f.flip(images.InstallerFile, area(f)+100) }, []string{
			"installer.iso: checking the ISO: the embed area is not empty; copy the folder again, or bake again",
		}},
		{"the installer's label", func(f folder) {
			f.flip(images.InstallerFile, f.find(images.InstallerFile, iso.InstallerLabel(verifytest.ImageID), 0)+9)
		}, []string{
			`installer.iso: its label is "K8SNODE-8\xc98B9570", and the command line looks for "K8SNODE-868B9570"; bake again`,
		}},
		{"a live ISO in the installer's place", func(f folder) { f.write(images.InstallerFile, f.read(images.ISOFile)) }, []string{
			"installer.iso: GRUB's menu has the command line \"LIVE\", and it should be \"INSTALLER\"; bake again",
			"installer.iso: checking the ISO: looking for the embed area: there is no /k8snode/area: it is not the ISO of an installer; copy the folder again, or bake again",
			`installer.iso: its label is "K8SNODE-299AA5AF", and the command line looks for "K8SNODE-868B9570"; bake again`,
		}},
		{"an SBOM that is none", func(f folder) { f.write(images.SBOMFile, "{") }, []string{
			"sbom.spdx.json: reading the SBOM: unexpected EOF; copy the folder again, or bake again",
		}},
		{"an old SBOM", func(f folder) { f.write(images.SBOMFile, `{"spdxVersion":"SPDX-2.2"}`) }, []string{
			`sbom.spdx.json: reading the SBOM: it is "SPDX-2.2", not SPDX-2.3; copy the folder again, or bake again`,
		}},
		{"missing files", func(f folder) {
			f.remove(images.ISOFile)
			f.remove(images.SBOMFile)
			f.remove(images.BlockMapFile)
			f.remove(images.KernelFile)
		}, []string{
			"disk.blockmap.json: it is missing; copy the folder again, or bake again",
			"live.iso: it is missing; copy the folder again, or bake again",
			"pxe/vmlinuz: it is missing; copy the folder again, or bake again",
			"sbom.spdx.json: it is missing; copy the folder again, or bake again",
		}},
		{"files of somebody else", func(f folder) {
			f.write("pxe/user.ign", "{}")
			f.write(".DS_Store", "")
			if err := os.Symlink("/etc/passwd", f.path("link")); err != nil {
				f.t.Fatal(err)
			}
		}, []string{
			".DS_Store: it is not a part of the image; remove it: what is in the folder is published",
			"SHA256SUMS: line 6 names link, which is not there; copy the folder again, or bake again",
			"link: it is not a regular file; copy the folder again, or bake again",
			"pxe/user.ign: it is not a part of the image; remove it: what is in the folder is published",
		}},
		{"an old manifest", func(f folder) { f.manifest(func(m *images.Manifest) { m.Recipe = nil }) }, []string{
			"manifest.json: it has no recipe: an older k8snode made it; bake again",
		}},
		{"no image", func(f folder) { f.manifest(func(m *images.Manifest) { m.Kind = "Cluster" }) }, []string{
			"manifest.json: it is k8snode.io/v1alpha1 Cluster, not k8snode.io/v1alpha1 ImageManifest; name the folder that a bake made",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := folder{t, filepath.Join(t.TempDir(), "out")}
			if out, err := exec.Command("cp", "-r", "--sparse=always", good, f.dir).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			tc.damage(f)
			f.sign()
			got := findings(t, f.dir, options())
			for i := range got {
				got[i] = maskCmdline(got[i])
			}
			if diff := cmp.Diff(append([]string{}, tc.want...), got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDigests damages files and lists, and corrects nothing.
func TestDigests(t *testing.T) {
	p := verifytest.Default(os.Environ())
	p.Recipe.Spec.Outputs = []images.Output{images.OutputPXE}
	f := folder{t, bake(t, p)}
	sums, err := os.ReadFile(f.path(images.SumsFile))
	if err != nil {
		t.Fatal(err)
	}
	var m images.Manifest
	f.manifest(func(have *images.Manifest) { m = *have })
	f.sums()
	a, _ := m.Artifact(images.IPXEFile)
	f.write(images.IPXEFile, string(verifytest.Stub(10))+"x")
	broken := source.SumBytes([]byte(string(verifytest.Stub(10)) + "x"))
	lines := strings.SplitAfter(string(sums), "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasSuffix(l, "manifest.json\n") })
	f.write(images.SumsFile, strings.Join(lines, "")+lines[1]+"abc  x\n"+verifytest.Zero+"  pxe/gone\n")
	want := []string{
		"SHA256SUMS: it does not name manifest.json; copy the folder again, or bake again",
		"SHA256SUMS: line 6 names pxe/ipxe.efi a second time; copy the folder again, or bake again",
		"SHA256SUMS: line 7 is not a SHA-256, two spaces and a name; copy the folder again, or bake again",
		"SHA256SUMS: line 8 names pxe/gone, which is not there; copy the folder again, or bake again",
		"pxe/ipxe.efi: it has 2049 bytes, and the manifest says 2048; copy the folder again, or bake again",
		"pxe/ipxe.efi: its SHA-256 is " + broken + ", and SHA256SUMS says " + a.SHA256 + "; copy the folder again, or bake again",
		"pxe/ipxe.efi: its SHA-256 is " + broken + ", and the manifest says " + a.SHA256 + "; copy the folder again, or bake again",
	}
	if diff := cmp.Diff(want, findings(t, f.dir, options())); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}
