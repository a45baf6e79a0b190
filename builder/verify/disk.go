package verify

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/uki"
	"github.com/k8snode/k8snode/images"
)

// disk checks the disk image. When only the compressed one is there, it is
// unpacked into the work folder.
func (v *verifier) disk() error {
	raw, artifact := v.file(images.RawFile), images.RawFile
	if v.exists(images.DiskFile) && v.exists(images.BlockMapFile) {
		if !v.exists(images.RawFile) {
			raw, artifact = filepath.Join(v.work, images.RawFile), images.DiskFile
			return errors.Join(v.unpackBlocks(raw), v.checkRaw(raw, artifact))
		}
		if err := v.compareBlocks(raw); err != nil {
			return err
		}
	}
	if !v.exists(images.RawFile) {
		return nil
	}
	return v.checkRaw(raw, artifact)
}

// checkRaw checks a raw image, in findings about the artifact.
func (v *verifier) checkRaw(raw, artifact string) error {
	if !v.now("partition tables", artifact, func() error { return disk.Check(raw) }) {
		return nil // its partitions are nowhere
	}
	f, err := v.open(raw)
	if err != nil {
		return err
	}
	v.now("partition tables", artifact, func() error {
		info, err := disk.Read(raw)
		if err == nil && !reflect.DeepEqual(info, v.m.Disk) {
			err = errors.New("its partitions are not those of the manifest")
		}
		return err
	})
	v.now("boot code", artifact, func() error { return v.checkBIOS(f) })
	v.now("boot program", artifact, func() error { return v.checkESP(f, raw, artifact) })
	v.later("boot file system", artifact, func() error { return v.checkFAT(f) })
	root := v.partition(images.LabelRoot)
	v.roots = append(v.roots, piece{artifact: artifact, what: "the root partition", r: io.NewSectionReader(f, root.Start, root.Size), size: min(v.m.Root.Total, root.Size), file: raw, offset: root.Start})
	v.later("empty ranges", artifact, func() error { return v.checkEmpty(f, artifact) })
	return nil
}

func (v *verifier) partition(label string) images.Partition {
	for _, p := range v.m.Disk.Partitions {
		if p.Label == label {
			return p
		}
	}
	return images.Partition{}
}

// gptEnd is behind the primary table with 128 entries, whatever the sectors.
const gptEnd = 32 << 10

// checkEmpty looks for bytes where there should be none: between the
// partitions, in the seed, behind the root.
func (v *verifier) checkEmpty(f *os.File, artifact string) error {
	root, seed := v.partition(images.LabelRoot), v.partition(images.LabelSeed)
	for _, r := range []struct {
		name      string
		low, high int64
	}{
		{"the space before the first partition", gptEnd, v.partition(images.LabelBIOS).Start},
		{"the seed partition", seed.Start, seed.Start + seed.Size},
		{"the root partition, behind the root,", root.Start + v.m.Root.Total, root.Start + root.Size},
	} {
		at, err := firstNonZero(v.ctx, f, r.low, r.high)
		if err != nil {
			return err
		}
		if at >= 0 {
			v.add(artifact, copyAgain, "%s has a byte at %d that is not zero", r.name, at)
		}
	}
	return nil
}

// checkBIOS looks at what GRUB's boot sector and the first sector of its core
// image say about their places (include/grub/i386/pc/boot.h of GRUB 2.12).
// Sectors of 4096 bytes cannot be booted so.
func (v *verifier) checkBIOS(f *os.File) error {
	if v.m.Disk.SectorSize != 512 {
		return nil
	}
	part := v.partition(images.LabelBIOS)
	mbr, core := make([]byte, 512), make([]byte, 512)
	if _, err := f.ReadAt(mbr, 0); err != nil {
		return err
	}
	if _, err := f.ReadAt(core, part.Start); err != nil {
		return err
	}
	first := uint64(part.Start) / 512
	if got := binary.LittleEndian.Uint64(mbr[0x5c:]); got != first {
		return fmt.Errorf("the boot sector starts sector %d, and GRUB is in sector %d", got, first)
	}
	if got := binary.LittleEndian.Uint64(core[512-12:]); got != first+1 {
		return fmt.Errorf("GRUB continues in sector %d, and it should in %d", got, first+1)
	}
	if n := int64(binary.LittleEndian.Uint16(core[512-4:])); n == 0 || (n+1)*512 > part.Size {
		return fmt.Errorf("GRUB has %d sectors more, and its partition %d", n, part.Size/512-1)
	}
	return nil
}

// checkFAT has fsck.fat look at a copy of the EFI system partition.
func (v *verifier) checkFAT(f *os.File) error {
	part := v.partition(images.LabelESP)
	name := filepath.Join(v.work, "esp.img")
	if err := extract(v.ctx, f, part.Start, part.Size, name); err != nil {
		return err
	}
	defer os.Remove(name)
	cmd := exec.CommandContext(v.ctx, "fsck.fat", "-n", name)
	cmd.Env = append(slices.Clone(v.o.Env), "LC_ALL=C")
	if _, err := source.Run(cmd); err != nil {
		var failed *source.CommandError
		if errors.As(err, &failed) {
			return fmt.Errorf("the EFI system partition is damaged: fsck.fat says: %s", firstComplaint(failed.Output))
		}
		return err
	}
	return nil
}

// firstComplaint returns the first line of fsck.fat behind its own name.
func firstComplaint(output string) string {
	for line := range strings.Lines(output) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "fsck.fat ") {
			return strings.TrimSuffix(line, ":")
		}
	}
	return "nothing"
}

// extract copies a range of a file to a new sparse file.
func extract(ctx context.Context, f *os.File, start, size int64, name string) error {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := out.Truncate(size); err != nil {
		return err
	}
	err = source.Extents(f, start, start+size, func(offset, length int64, hole bool) error {
		if hole {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := out.Seek(offset-start, io.SeekStart); err != nil {
			return err
		}
		_, err := io.Copy(out, io.NewSectionReader(f, offset, length))
		return err
	})
	if err != nil {
		return err
	}
	return out.Close()
}

const grubConfig = "grub/grub.cfg"

// checkESP checks the files of the EFI system partition.
func (v *verifier) checkESP(f *os.File, raw, artifact string) error {
	esp, err := disk.OpenESP(raw)
	if err != nil {
		return err
	}
	v.opened = append(v.opened, esp)
	boot := strings.TrimPrefix(disk.BootPath, "/")
	wanted := map[string]bool{boot: true}
	if v.m.Disk.SectorSize == 512 {
		wanted[grubConfig] = true
	}
	err = fs.WalkDir(esp, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !wanted[p] {
			v.add(artifact, bakeAgain, "the EFI system partition has the file /%s, which does not belong there", p)
		}
		delete(wanted, p)
		if st, err := d.Info(); err != nil {
			return err
		} else if st.ModTime().After(v.recipe.Spec.Epoch) {
			v.add(artifact, bakeAgain, "/%s of the EFI system partition is of %s, later than the epoch", p, st.ModTime().Format("2006-01-02 15:04:05"))
		}
		return nil
	})
	for p := range wanted {
		v.add(artifact, bakeAgain, "the EFI system partition has no file /%s", p)
	}
	if err != nil || wanted[boot] {
		return err
	}
	if err := v.checkUKI(esp, boot, artifact); err != nil || wanted[grubConfig] || v.m.Disk.SectorSize != 512 {
		return err
	}
	part := v.partition(images.LabelESP)
	return v.checkGRUB(esp, grubConfig, artifact, v.m.Cmdline, io.NewSectionReader(f, part.Start, part.Size))
}

// openAt opens a file for reading anywhere in it.
func openAt(files fs.FS, name string) (io.ReaderAt, int64, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, 0, fmt.Errorf("internal error: %s cannot be read at an offset", name)
	}
	return r, st.Size(), nil
}

// checkUKI checks the sections of the boot program. Kernel and initramfs are
// compared with those of the other artifacts later.
func (v *verifier) checkUKI(files fs.FS, name, artifact string) error {
	r, _, err := openAt(files, name)
	if err != nil {
		return err
	}
	sections, err := uki.Sections(r)
	if err != nil {
		return err
	}
	text := func(section string) string {
		s := sections[section]
		b := make([]byte, min(s.Size, 64<<10))
		if _, err := r.ReadAt(b, s.Offset); err != nil && !errors.Is(err, io.EOF) {
			v.add(artifact, copyAgain, "section %s of the UKI cannot be read: %v", section, err)
		}
		return strings.TrimRight(string(b), "\x00")
	}
	for _, s := range []string{uki.SectionCmdline, uki.SectionUname, uki.SectionOSRelease, uki.SectionLinux, uki.SectionInitrd} {
		if _, ok := sections[s]; !ok {
			v.add(artifact, bakeAgain, "the UKI has no section %s", s)
		}
	}
	if got := text(uki.SectionCmdline); got != v.m.Cmdline {
		v.add(artifact, bakeAgain, "the UKI has the command line %q, and the manifest %q", got, v.m.Cmdline)
	}
	if got := text(uki.SectionUname); got != v.m.Kernel {
		v.add(artifact, bakeAgain, "the UKI says that its kernel is %q, and the manifest %q", got, v.m.Kernel)
	}
	v.osRelease = append(v.osRelease, osRelease{artifact, text(uki.SectionOSRelease)})
	linux, initrd := sections[uki.SectionLinux], sections[uki.SectionInitrd]
	v.kernels = append(v.kernels, piece{artifact: artifact, what: "the kernel in the UKI", r: io.NewSectionReader(r, linux.Offset, linux.Size), size: linux.Size})
	v.initrds = append(v.initrds, piece{artifact: artifact, what: "the initramfs in the UKI", r: io.NewSectionReader(r, initrd.Offset, initrd.Size), size: initrd.Size})
	return nil
}

// readBlockMap reads the map of the compressed disk.
func (v *verifier) readBlockMap() (images.BlockMap, error) {
	var m images.BlockMap
	b, err := os.ReadFile(v.file(images.BlockMapFile))
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	return m, err
}
