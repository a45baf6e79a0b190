package handover_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/disk/disktest"
	"github.com/k8snode/k8snode/agent/handover"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/api"
)

const (
	mib  = 1 << 20
	vars = "sys/firmware/efi/efivars"
	// global is the vendor of the variables that firmware boots by.
	global = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	esp    = "04030201-0605-0807-090a-0b0c0d0e0f10"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A machine has disks, and programs that mount what is in folders.
type machine struct {
	t       *testing.T
	root    string
	opts    handover.Options
	console bytes.Buffer
	// started are the kernels that were started.
	started []handover.Kernel
}

// newMachine has a disk with an image and one without, and BIOS.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, root: disktest.Machine(t,
		disktest.Disk{Name: "sda", Serial: "A", Size: mib},
		disktest.Disk{Name: "sdb", Serial: "B", Size: mib},
	)}
	m.image("sdb", images.LabelBIOS, images.LabelESP, images.LabelSeed, images.LabelRoot)
	// mount copies a folder, and says what it was told.
	m.program("mount", `echo "$@" >> "$ROOT/mounted"; for dir; do :; done; cp -r "$ROOT/$2.fs/." "$dir/"`)
	m.program("umount", `rm -r "$1"`)
	m.opts = handover.Options{
		Root: m.root, Runner: command.Runner{Dir: filepath.Join(m.root, "bin")}, Now: noon, Console: &m.console,
		Kexec: func(k handover.Kernel) error {
			m.started = append(m.started, k)
			return nil
		},
	}
	m.write("vfat.fs/EFI/BOOT/BOOTX64.EFI", program(map[string]string{".linux": "the kernel", ".initrd": "the initramfs", ".cmdline": "root=/dev/x quiet\x00"}))
	m.write("efivarfs.fs/other", nil)
	return m
}

// image writes a table with partitions of 64 KiB, one after the other.
func (m *machine) image(disk string, labels ...string) {
	m.t.Helper()
	var all []disktest.Partition
	for i, label := range labels {
		p := disktest.Partition{Label: label, Start: int64(i+1) << 16, Size: 1 << 16}
		if label == images.LabelESP {
			p.GUID = [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
		}
		all = append(all, p)
	}
	m.write("dev/"+disk, append(disktest.GPT(all...), make([]byte, mib)...))
}

func (m *machine) write(path string, data []byte) {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) program(name, script string) {
	m.t.Helper()
	m.write("bin/"+name, []byte("#!/bin/sh\nset -e\nROOT="+m.root+"\n"+script+"\n"))
	if err := os.Chmod(filepath.Join(m.root, "bin", name), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(path string) []byte {
	m.t.Helper()
	b, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil {
		m.t.Fatal(err)
	}
	return b
}

// uefi gives the machine firmware with boot options.
func (m *machine) uefi(options map[string]string) {
	m.t.Helper()
	for name, described := range options {
		m.write(vars+"/"+name+global, append([]byte{7, 0, 0, 0, 1, 0, 0, 0, 0, 0}, wide(described)...))
	}
	m.write(vars+"/BootOrder"+global, []byte{7, 0, 0, 0, 0, 0})
}

func wide(s string) []byte {
	var b []byte
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// program is an EFI program with sections, each filled up with zeros.
func program(sections map[string]string) []byte {
	const at, align = 0x40, 0x200
	le := binary.LittleEndian
	b := make([]byte, 2*align)
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], at)
	copy(b[at:], "PE\x00\x00")
	le.PutUint16(b[at+4:], 0x8664)
	le.PutUint16(b[at+6:], uint16(len(sections)))
	i := 0
	for name, content := range sections {
		h := b[at+24+40*i:]
		copy(h, name)
		le.PutUint32(h[8:], uint32(len(content)))
		le.PutUint32(h[16:], align)
		le.PutUint32(h[20:], uint32(len(b)))
		b = append(b, append([]byte(content), make([]byte, align-len(content))...)...)
		i++
	}
	return b
}

func TestKexec(t *testing.T) {
	m := newMachine(t)
	if err := handover.Start(t.Context(), m.opts); err != nil {
		t.Fatal(err)
	}
	if len(m.started) != 1 || m.started[0].Cmdline != "root=/dev/x quiet" {
		t.Fatalf("%+v", m.started)
	}
	for path, want := range map[string]string{m.started[0].Linux: "the kernel", m.started[0].Initrd: "the initramfs"} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if want := "-t vfat -o ro " + m.root + "/dev/disk/by-partuuid/" + esp + " " + m.root + "/run/k8snode/esp\n"; string(m.read("mounted")) != want {
		t.Errorf("mounted %s, want %s", m.read("mounted"), want)
	}
	if want := "k8snode: starting /dev/sdb 0.0 GiB serial=\"B\" without the firmware\n"; m.console.String() != want {
		t.Errorf("the console says %q", &m.console)
	}
}

func TestBootNext(t *testing.T) {
	m := newMachine(t)
	m.uefi(map[string]string{"Boot0000": "UiApp", "Boot0001": "UEFI QEMU DVD-ROM"})
	if err := handover.Start(t.Context(), m.opts); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]byte{7, 0, 0, 0, 2, 0}, m.read(vars+"/BootNext"+global)); diff != "" || len(m.started) != 0 {
		t.Errorf("BootNext (-want +got):\n%s\nstarted %v", diff, m.started)
	}
	// By hand, from the specification.
	want := []byte{7, 0, 0, 0, 1, 0, 0, 0, 94, 0}
	want = append(want, wide("k8snode, started 2026-03-01 12:00:00")...)
	want = append(want, 4, 1, 42, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0)
	want = append(want, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 2, 2)
	want = append(append(want, 4, 4, 48, 0), wide(`\EFI\BOOT\BOOTX64.EFI`)...)
	want = append(want, 0x7f, 0xff, 4, 0)
	if diff := cmp.Diff(want, m.read(vars+"/Boot0002"+global)); diff != "" {
		t.Errorf("the boot option (-want +got):\n%s", diff)
	}

	// Later, the same option is used.
	m.opts.Now = noon.Add(time.Hour)
	if err := handover.Start(t.Context(), m.opts); err != nil || len(m.started) != 0 {
		t.Fatalf("%v, started %v", err, m.started)
	}
	if _, err := os.Stat(filepath.Join(m.root, vars, "Boot0003"+global)); err == nil {
		t.Error("another boot option was made")
	}
	// The firmware was told, and minutes later here we are again.
	m.opts.Now = noon.Add(time.Hour + 3*time.Minute)
	m.console.Reset()
	if err := handover.Start(t.Context(), m.opts); err != nil || len(m.started) != 1 {
		t.Fatalf("%v, started %v", err, m.started)
	}
	want2 := "k8snode: telling the firmware to start /dev/sdb: it was told 3m0s ago, and started something else\n" +
		"k8snode: starting /dev/sdb 0.0 GiB serial=\"B\" without the firmware\n"
	if m.console.String() != want2 {
		t.Errorf("the console says\n%s", &m.console)
	}
}

// The kernel's view of the variables is mounted where nobody has done it.
func TestVariablesAreMounted(t *testing.T) {
	m := newMachine(t)
	if err := os.MkdirAll(filepath.Join(m.root, vars), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := handover.Start(t.Context(), m.opts); err != nil {
		t.Fatal(err)
	}
	if want := "-t efivarfs efivarfs " + m.root + "/" + vars + "\n"; string(m.read("mounted")) != want {
		t.Errorf("mounted %s", m.read("mounted"))
	}
	m.read(vars + "/Boot0000" + global)
}

func TestDisk(t *testing.T) {
	serial := func(s string) *api.DiskSelection { return &api.DiskSelection{Serial: s} }
	for _, tt := range []struct {
		name    string
		change  func(*machine)
		want    string // on the console
		wantErr string
		none    bool
	}{
		{"the server says which", func(m *machine) {
			m.image("sda", images.LabelESP, images.LabelSeed, images.LabelRoot)
			m.opts.Disk = serial("A")
		}, "starting /dev/sda", "", false},
		{"nobody says which of two", func(m *machine) {
			m.image("sda", images.LabelESP, images.LabelSeed, images.LabelRoot)
		}, "", "several disks hold an image (/dev/sda, /dev/sdb), and only the server knows which is the node's", false},
		{"the node's disk has none", func(m *machine) { m.opts.Disk = serial("A") }, "", `no image is on the disk of this machine: /dev/sda 0.0 GiB serial="A"`, true},
		{"the node's disk is not there", func(m *machine) { m.opts.Disk = serial("C") }, "", "no image is on the disk of this machine: no disk matches", true},
		{"no disk has one", func(m *machine) { m.image("sdb", images.LabelESP) }, "", "no image is on the disk of this machine", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			tt.change(m)
			err := handover.Start(t.Context(), m.opts)
			if tt.wantErr == "" && (err != nil || !strings.Contains(m.console.String(), tt.want)) {
				t.Errorf("%v, %s", err, &m.console)
			}
			if tt.wantErr != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.wantErr) || errors.Is(err, handover.ErrNoImage) != tt.none || len(m.started) > 0) {
				t.Errorf("got %v, want %s", err, tt.wantErr)
			}
		})
	}
}

func TestFailures(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*machine)
		want   []string
	}{
		"no boot program": {func(m *machine) { os.RemoveAll(filepath.Join(m.root, "vfat.fs/EFI")) }, []string{"starting the image on /dev/sdb: open "}},
		"no program":      {func(m *machine) { m.write("vfat.fs/EFI/BOOT/BOOTX64.EFI", []byte("x")) }, []string{"starting the image on /dev/sdb: reading the boot program: "}},
		"no kernel in it": {
			func(m *machine) {
				m.write("vfat.fs/EFI/BOOT/BOOTX64.EFI", program(map[string]string{".initrd": "x", ".cmdline": "y"}))
			},
			[]string{"reading the boot program: it has no whole section .linux"},
		},
		"a kernel that is locked": {func(m *machine) {
			m.opts.Kexec = func(handover.Kernel) error { return errors.New("loading the kernel: operation not permitted") }
		}, []string{"starting the image on /dev/sdb: loading the kernel: operation not permitted"}},
		"neither way": {func(m *machine) {
			m.uefi(nil)
			if err := os.MkdirAll(filepath.Join(m.root, vars, "BootNext"+global), 0o755); err != nil {
				m.t.Fatal(err)
			}
			m.program("mount", "echo broken >&2; exit 32")
		}, []string{"telling the firmware to start /dev/sdb: open ", "starting the image on /dev/sdb: running mount"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			tt.change(m)
			err := handover.Start(t.Context(), m.opts)
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %s", err, want)
				}
			}
		})
	}
}
