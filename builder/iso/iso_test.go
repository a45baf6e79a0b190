package iso_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/builder/iso"
	"github.com/k8snode/k8snode/images"
)

var epoch = time.Date(2026, time.January, 1, 12, 34, 56, 0, time.UTC)

// content are the inputs by their names; GRUB's images have no code but the
// fields that matter.
var content = map[string][]byte{
	"kernel": bytes.Repeat([]byte("kernel"), 1001),
	"initrd": bytes.Repeat([]byte("initrd"), 10_001),
	"root":   bytes.Repeat([]byte("root"), 100_001),
	"mbr":    append(make([]byte, 510), 0x55, 0xaa),
	"core":   bytes.Repeat([]byte("core"), 2000),
	"efi":    bytes.Repeat([]byte("MZ"), 50_000),
}

func options(t *testing.T, dir string) iso.Options {
	t.Helper()
	if _, err := exec.LookPath(iso.Tool); err != nil {
		t.Skip("xorriso is not installed: scripts/host-packages.sh bake installs it, and make test runs that")
	}
	in, work := filepath.Join(dir, "in = put"), filepath.Join(dir, "work")
	for _, d := range []string{in, work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range content {
		if err := os.WriteFile(filepath.Join(in, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(in, name) }
	return iso.Options{
		ID: "image-1", Epoch: epoch, Kernel: at("kernel"), Initrd: at("initrd"), Root: at("root"),
		GRUB:    iso.GRUB{MBR: at("mbr"), Core: at("core"), EFI: at("efi")},
		Cmdline: "root=/dev/mapper/root ro k8snode.root=label:" + iso.Label("image-1"),
		Work:    work, Env: os.Environ(),
	}
}

// write makes an ISO and checks it.
func write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	o := options(t, dir)
	out := filepath.Join(dir, "live.iso")
	if err := iso.Write(t.Context(), out, o); err != nil {
		t.Fatal(err)
	}
	if err := iso.Check(out); err != nil {
		t.Error(err)
	}
	return out
}

func TestWrite(t *testing.T) {
	out := write(t)
	image, err := iso.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	if err := fstest.TestFS(image, iso.KernelPath, iso.InitrdPath, iso.RootPath, iso.ConfigPath); err != nil {
		t.Error(err)
	}
	for name, want := range map[string][]byte{iso.KernelPath: content["kernel"], iso.InitrdPath: content["initrd"], iso.RootPath: content["root"]} {
		if b, err := fs.ReadFile(image, name); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s differs (%v)", name, err)
		}
	}
	if st, err := fs.Stat(image, iso.KernelPath); err != nil || !st.ModTime().Equal(epoch) {
		t.Errorf("the kernel's time is %v, want %v (%v)", st.ModTime(), epoch, err)
	}
	if image.Label != iso.Label("image-1") || !regexp.MustCompile(`^K8SNODE-[0-9A-F]{8}$`).MatchString(image.Label) {
		t.Errorf("the label is %s", image.Label)
	}
	config, err := fs.ReadFile(image, iso.ConfigPath)
	if want := "  linux /boot/vmlinuz 'root=/dev/mapper/root' 'ro' 'k8snode.root=label:" + image.Label + "'\n  initrd /boot/initrd.img\n"; err != nil || !strings.Contains(string(config), want) {
		t.Errorf("grub.cfg is\n%s(%v)", config, err)
	}

	// GRUB by UEFI, from the FAT and from the ISO.
	esp, err := disk.OpenESP(out)
	if err != nil {
		t.Fatal(err)
	}
	defer esp.Close()
	if b, err := fs.ReadFile(esp, "EFI/BOOT/BOOTX64.EFI"); err != nil || !bytes.Equal(b, content["efi"]) {
		t.Errorf("the EFI program differs (%v)", err)
	}
	for name, files := range map[string]fs.FS{"FAT": esp, "ISO": image} {
		b, err := fs.ReadFile(files, "EFI/BOOT/grub.cfg")
		if want := "search --no-floppy --set=root --label '" + image.Label + "'"; err != nil || !strings.Contains(string(b), want) {
			t.Errorf("grub.cfg of the %s is\n%s(%v)", name, b, err)
		}
	}
}

func TestReproducible(t *testing.T) {
	first, err := os.ReadFile(write(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TZ", "Pacific/Kiritimati")
	t.Setenv("SOURCE_DATE_EPOCH", "86400")
	defer syscall.Umask(syscall.Umask(0o077))
	for range 2 { // the order of a map, and so of the inputs' inode numbers
		if again, err := os.ReadFile(write(t)); err != nil || !bytes.Equal(first, again) {
			t.Errorf("written twice, it differs (%v)", err)
		}
	}
}

// The installer has an embed area in place of a root, and other identifiers.
func TestInstaller(t *testing.T) {
	installer := func() string {
		dir := t.TempDir()
		o := options(t, dir)
		o.Root = ""
		out := filepath.Join(dir, "installer.iso")
		if err := iso.Write(t.Context(), out, o); err != nil {
			t.Fatal(err)
		}
		return out
	}
	out := installer()
	if err := iso.CheckInstaller(out); err != nil {
		t.Error(err)
	}
	first, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TZ", "Pacific/Kiritimati")
	if again, err := os.ReadFile(installer()); err != nil || !bytes.Equal(first, again) {
		t.Errorf("written twice, it differs (%v)", err)
	}
	image, err := iso.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	if image.Label != iso.InstallerLabel("image-1") || image.Label == iso.Label("image-1") {
		t.Errorf("the label is %s", image.Label)
	}
	if _, err := fs.Stat(image, iso.RootPath); err == nil {
		t.Error("it has a root")
	}

	// What is written into the area is all that changes, and it is written once.
	f, err := os.OpenFile(out, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at, err := image.Area()
	if err != nil {
		t.Fatal(err)
	}
	area := bytes.Repeat([]byte("seed"), images.InstallerAreaSize/4)
	if err := iso.Embed(f, area); err != nil {
		t.Fatal(err)
	}
	if b, err := fs.ReadFile(image, strings.TrimPrefix(images.InstallerArea, "/")); err != nil || !bytes.Equal(b, area) {
		t.Errorf("the area is not what was written (%v)", err)
	}
	copy(first[at.Offset:], area)
	if b, err := os.ReadFile(out); err != nil || !bytes.Equal(b, first) {
		t.Errorf("something else was changed (%v)", err)
	}
	if err := iso.Embed(f, area); err == nil || err.Error() != "the embed area is not empty" {
		t.Errorf("written again: %v", err)
	}
	live, err := os.OpenFile(write(t), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	if err := iso.Embed(live, area); err == nil || !strings.Contains(err.Error(), "it is not the ISO of an installer") {
		t.Errorf("a live ISO: %v", err)
	}
}

// TestOtherTools asks programs that did not take part in what they judge.
func TestOtherTools(t *testing.T) {
	out := write(t)
	report := run(t, "xorriso", "-indev", out, "-report_el_torito", "plain", "-report_system_area", "plain")
	for _, want := range []string{
		`El Torito boot img :   1  BIOS  y   none  0x0000  0x00      4 `,
		`El Torito boot img :   2  UEFI  y   none  0x0000  0x00  10240 `,
		`El Torito img opts :   1  boot-info-table grub2-boot-info`,
		`System area summary: MBR protective-msdos-label grub2-mbr cyl-align-off GPT`,
	} {
		if report != "" && !strings.Contains(report, want) {
			t.Errorf("xorriso does not say %q but\n%s", want, report)
		}
	}
	if text := run(t, "sgdisk", "--verify", out); text != "" && !strings.Contains(text, "No problems found") {
		t.Errorf("sgdisk: %s", text)
	}
	info, err := disk.Read(out)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	esp := info.Partitions[1]
	fat := filepath.Join(t.TempDir(), "esp")
	if err := os.WriteFile(fat, b[esp.Start:esp.Start+esp.Size], 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "fsck.fat", "-n", fat)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	tool, err := exec.LookPath(name)
	if err != nil {
		t.Logf("%s is not installed: scripts/host-packages.sh installs it, and make test runs that", name)
		return ""
	}
	out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

func TestWriteRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*iso.Options)
		err    string
	}{
		{"no root", func(o *iso.Options) { o.Root = "/nonexistent/root" },
			"making the ISO: stat /nonexistent/root: no such file or directory"},
		{"no GRUB", func(o *iso.Options) { o.GRUB.EFI = "/nonexistent/efi" },
			"making the ISO: open /nonexistent/efi: no such file or directory"},
		{"quote", func(o *iso.Options) { o.Cmdline = "it's" },
			`making the ISO: writing grub.cfg: "it's" has the character "'", which GRUB cannot pass on`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			o := options(t, dir)
			tc.change(&o)
			out := filepath.Join(dir, "live.iso")
			if err := iso.Write(t.Context(), out, o); err == nil || err.Error() != tc.err {
				t.Errorf("error %v, want %s", err, tc.err)
			}
			if _, err := os.Stat(out); !os.IsNotExist(err) {
				t.Errorf("there is an ISO (%v)", err)
			}
		})
	}
	o := options(t, t.TempDir())
	if err := iso.Write(t.Context(), "/nonexistent/live.iso", o); err == nil || !strings.Contains(err.Error(), "running xorriso") {
		t.Errorf("error %v", err)
	}
}

// A full disk is told in a line, not in everything that xorriso says.
func TestWriteDiskFull(t *testing.T) {
	o := options(t, t.TempDir())
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=200k", "k8snode-test", dir).CombinedOutput(); err != nil {
		t.Skipf("mounting a small file system: %v: %s", err, out)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	err := iso.Write(t.Context(), filepath.Join(dir, "live.iso"), o)
	want := regexp.MustCompile(`^making the ISO: running xorriso: exit status \d+\n  xorriso : FAILURE : Image size \d+s exceeds free space on media \d+s$`)
	if err == nil || !want.MatchString(err.Error()) {
		t.Errorf("error %v", err)
	}
}

func TestCheckRefuses(t *testing.T) {
	good, err := os.ReadFile(write(t))
	if err != nil {
		t.Fatal(err)
	}
	catalog := bytes.Index(good[18*2048:], []byte("\x55\xaa\x88\x00")) + 18*2048 // behind the validation entry
	for _, tc := range []struct {
		name   string
		change func([]byte)
		err    string
	}{
		{"no ISO", func(b []byte) { b[16*2048+1] = 'X' }, "opening the ISO: reading the volume descriptor: not an ISO 9660 file system"},
		{"no boot record", func(b []byte) { b[17*2048+7] = 'X' }, "opening the ISO: reading the boot catalog: there is none"},
		{"catalog", func(b []byte) { b[catalog-10] ^= 1 }, "opening the ISO: reading the boot catalog: its first entry is damaged"},
		{"not bootable", func(b []byte) { b[catalog+2] = 0 }, "checking the ISO: the boot catalog has not one entry for BIOS and one for UEFI: [{true {591872 5242880}}]"},
		{"another FAT", func(b []byte) { b[catalog+2+64+8] ^= 1 }, "checking the ISO: the boot catalog's entry for UEFI is not the partition of the GPT: {true {589824 5242880}}"},
		{"partition table", func(b []byte) { b[512+60] ^= 1 }, "checking the ISO: checking the partition table: primary header: its checksum is "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := bytes.Clone(good)
			tc.change(b)
			name := filepath.Join(t.TempDir(), "iso")
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := iso.Check(name); err == nil || !strings.HasPrefix(err.Error(), tc.err) {
				t.Errorf("error %v\nwant %s", err, tc.err)
			}
		})
	}
}

func TestLabel(t *testing.T) {
	if diff := cmp.Diff("K8SNODE-D563C675", iso.Label("image-1")); diff != "" {
		t.Error(diff)
	}
	if iso.Label("image-1") == iso.Label("image-2") {
		t.Error("two images share a label")
	}
}

func FuzzRead(f *testing.F) {
	// Volume descriptor, boot record, folder and catalog of the smallest ISO.
	b := make([]byte, 20*2048)
	copy(b[16*2048:], "\x01CD001")
	copy(b[16*2048+156:], "\x22\x00\x12\x00\x00\x00\x00\x00\x00\x12\x00\x08\x00\x00\x00\x00\x08\x00")
	b[16*2048+156+32] = 1
	copy(b[17*2048:], "\x00CD001\x01EL TORITO SPECIFICATION")
	b[17*2048+0x47] = 19
	copy(b[19*2048:], "\x01")
	copy(b[19*2048+28:], "\xaa\x55\x55\xaa\x88")
	f.Add(b[16*2048:])
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = iso.Read(bytes.NewReader(append(make([]byte, 16*2048), b...)))
	})
}
