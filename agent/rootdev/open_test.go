package rootdev_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/agent/cmdline"
	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/agent/rootdev"
)

const guid = "9d6b56a5-40d1-5df5-a88d-3854fb4cee43"

// A machine is a folder in place of an initramfs: its programs write down how
// they were called and do what the kernel would do, with files.
type machine struct {
	t       *testing.T
	root    string
	console bytes.Buffer
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, root: t.TempDir()}
	m.write("proc/meminfo", []byte("MemTotal: 4000000 kB\nMemAvailable:    3000000 kB\n"))
	m.write("sys/block/vda/size", []byte("48"))
	// A map is a copy of the data in front of the tree.
	m.program("dmsetup", `case $1 in
create) mkdir -p R/dev/mapper; set -- $5; head -c $(($2 * 512)) R/$5 > R/dev/mapper/root ;;
remove) rm R/dev/mapper/root ;;
esac`)
	m.program("losetup", `mkdir -p R/dev; ln -f "$4" R/dev/loop7; echo /dev/loop7`)
	m.program("modprobe", "")
	// The medium is mounted already: its folder is there.
	m.program("mount", "")
	m.program("usr/libexec/k8snode/network", "")
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.root, name) }

func (m *machine) write(name string, data []byte) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path(name), data, 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// program makes a script in which R is the machine's root.
func (m *machine) program(name, body string) {
	m.t.Helper()
	script := "#!/bin/sh\nset -e\necho " + filepath.Base(name) + ` "$@" >> R/calls` + "\n" + body + "\n"
	m.write("bin/"+name, []byte(strings.ReplaceAll(script, "R/", m.root+"/")))
	if err := os.Chmod(m.path("bin/"+name), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) open(root cmdline.Root) error {
	m.t.Helper()
	return rootdev.Open(context.Background(), rootdev.Options{
		Args: cmdline.Args{Root: root, Verity: verity(4)},
		Root: m.root, Runner: command.Runner{Dir: m.path("bin")}, Wait: time.Millisecond,
		Retry:   retry.Policy{First: time.Millisecond, Limit: 2 * time.Second},
		Console: &m.console,
	})
}

func (m *machine) calls() []string {
	data, err := os.ReadFile(m.path("calls"))
	if err != nil {
		return nil
	}
	text := strings.ReplaceAll(string(data), m.root+"/", "R/")
	return strings.Split(strings.TrimSpace(text), "\n")
}

func (m *machine) want(calls ...string) {
	m.t.Helper()
	if diff := cmp.Diff(calls, m.calls()); diff != "" {
		m.t.Error(diff)
	}
}

func table(device string) string {
	return "dmsetup create root --readonly --table 0 32 verity 1 " + device + " " + device +
		" 4096 4096 4 5 sha256 " + hash + " 73616c74"
}

func TestOpenPartition(t *testing.T) {
	m := newMachine(t)
	link := "/dev/disk/by-partuuid/" + guid
	m.write(link, append(image(), make([]byte, block)...)) // a partition may be larger
	root := cmdline.Root{Kind: cmdline.Partition, Value: guid}
	if err := m.open(root); err != nil {
		t.Fatal(err)
	}
	// A second time there is nothing to do.
	if err := m.open(root); err != nil {
		t.Fatal(err)
	}
	m.want(table(link))
	if got, want := m.console.String(), "k8snode: root: partuuid:"+guid+"\n"; got != want {
		t.Errorf("the console says %q, want %q", got, want)
	}
}

func TestOpenFile(t *testing.T) {
	m := newMachine(t)
	m.write("rootfs.squashfs", image())
	if err := m.open(cmdline.Root{Kind: cmdline.File, Value: "/rootfs.squashfs"}); err != nil {
		t.Fatal(err)
	}
	m.want("modprobe loop", "losetup --find --show --read-only R/rootfs.squashfs", table("/dev/loop7"))
}

func TestOpenMedium(t *testing.T) {
	m := newMachine(t)
	m.write("dev/disk/by-label/LIVE", nil)
	root := cmdline.Root{Kind: cmdline.Medium, Value: "LIVE"}
	err := m.open(root)
	if err == nil || !strings.HasPrefix(err.Error(), "the medium LIVE has no root: stat ") {
		t.Errorf("got %v", err)
	}
	m.write("run/k8snode/medium/live/rootfs.squashfs", image())
	if err := m.open(root); err != nil {
		t.Fatal(err)
	}
	mount := "mount -o ro R/dev/disk/by-label/LIVE R/run/k8snode/medium"
	m.want(mount, mount, "modprobe loop",
		"losetup --find --show --read-only R/run/k8snode/medium/live/rootfs.squashfs", table("/dev/loop7"))
}

func TestOpenErrors(t *testing.T) {
	file := cmdline.Root{Kind: cmdline.File, Value: "/r"}
	const remedy = ": write or fetch the image anew; kernel, initramfs, command line and root must be of one image"
	for _, tt := range []struct {
		name    string
		prepare func(*machine)
		root    cmdline.Root
		want    string
	}{
		{
			"no partition", func(*machine) {}, cmdline.Root{Kind: cmdline.Partition, Value: guid},
			"no partition " + guid + " appeared within 1ms: is the disk or medium there, and was this image written to it? " +
				"This machine has:\n  /dev/vda 0.0 GiB",
		},
		{
			"no medium", func(*machine) {}, cmdline.Root{Kind: cmdline.Medium, Value: "LIVE"},
			"no file system labelled LIVE appeared within 1ms: is the disk or medium there, and was this image written to it? " +
				"This machine has:\n  /dev/vda 0.0 GiB",
		},
		{
			"no file", func(*machine) {}, file,
			"there is no /r in the initramfs: let the boot loader load the root as a second initrd with that name (iPXE: initrd URL /r)",
		},
		{
			"truncated", func(m *machine) { m.write("r", image()[:5*block]) }, file,
			"the root of this image is damaged: file:/r: it has 20480 bytes of 24576" + remedy,
		},
		{
			"another tree", func(m *machine) {
				m.write("r", append(append(squashfs(), superblock(9, "")...), make([]byte, block)...))
			}, file,
			"the root of this image is damaged: file:/r: the hash tree is of 9 blocks, the kernel command line promises 4" + remedy,
		},
		{
			"no loop device", func(m *machine) { m.write("r", image()); m.program("losetup", "echo no device >&2; exit 1") }, file,
			"making a loop device of /r: running losetup --find --show --read-only R/r: exit status 1: no device",
		},
		{
			"refused by the kernel", func(m *machine) { m.write("r", image()); m.program("dmsetup", "echo Invalid argument >&2; exit 1") }, file,
			"opening file:/r with dm-verity: running " + table("/dev/loop7") + ": exit status 1: Invalid argument",
		},
		{
			// What a changed block is, an error when reading, is a short map here.
			"changed metadata", func(m *machine) {
				m.write("r", image())
				m.program("dmsetup", "case $1 in create) mkdir -p R/dev/mapper; head -c 50 R/r > R/dev/mapper/root;; *) rm R/dev/mapper/root;; esac")
			}, file,
			"the root of this image is damaged: file:/r: it does not match the root hash of the kernel command line (EOF)" + remedy,
		},
		{
			"no squashfs", func(m *machine) {
				b := image()
				b[0] = 'x'
				m.write("r", b)
			}, file,
			"the root of this image is damaged: file:/r: it does not match the root hash of the kernel command line (it is not a squashfs)" + remedy,
		},
		{
			"impossible squashfs", func(m *machine) {
				b := image()
				b[44] = 1
				m.write("r", b)
			}, file,
			"the root of this image is damaged: file:/r: it does not match the root hash of the kernel command line (its superblock is out of range)" + remedy,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			tt.prepare(m)
			err := m.open(tt.root)
			if err == nil || strings.ReplaceAll(err.Error(), m.root+"/", "R/") != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
			for _, left := range []string{"dev/mapper/root", "run/k8snode/root.open"} {
				if _, err := os.Stat(m.path(left)); !os.IsNotExist(err) {
					t.Errorf("%s is left: %v", left, err)
				}
			}
		})
	}
}

func TestOpenEndsWithTheContext(t *testing.T) {
	m := newMachine(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(io.ErrClosedPipe)
	err := rootdev.Open(ctx, rootdev.Options{
		Args: cmdline.Args{Root: cmdline.Root{Kind: cmdline.Partition, Value: guid}, Verity: verity(4)}, Root: m.root,
	})
	if fmt.Sprint(err) != io.ErrClosedPipe.Error() {
		t.Errorf("got %v", err)
	}
}
