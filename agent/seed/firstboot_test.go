package seed_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/agent/cmdline"
	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/disk/disktest"
	"github.com/k8snode/k8snode/agent/seed"
)

const rootGUID = "00112233-4455-6677-8899-aabbccddeeff"

// A machine is a folder in place of an initramfs. Partition N of the disk sda
// is the file dev/sdaN: 1 seed, 2 ESP, 3 root, 4 state. Mounting it puts a link
// to the folder dev/sdaN.fs in place of the mount point.
type machine struct {
	t       *testing.T
	root    string
	args    cmdline.Args
	console bytes.Buffer
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	sys := map[string]string{}
	for n := 1; n <= 4; n++ {
		sys[fmt.Sprintf("sda%d/partition", n)] = fmt.Sprint(n)
	}
	m := &machine{
		t: t,
		root: disktest.Machine(t,
			disktest.Disk{Name: "loop0", Size: mib},
			disktest.Disk{Name: "sda", Size: mib, Attributes: sys},
			disktest.Disk{Name: "sdb", Size: mib},
		),
		args: cmdline.Args{Root: cmdline.Root{Kind: cmdline.Partition, Value: rootGUID}, State: cmdline.Disk},
	}
	m.write("dev/loop0", table(0)) // of no account: not a disk
	m.write("dev/sda", table(0))
	m.write("dev/sda1", make([]byte, mib))
	m.write("dev/sda2.fs/EFI/x", nil)
	m.write("dev/sda2", nil)
	for name, body := range map[string]string{
		"mount":    `test -d "$5.fs" || { echo "cannot mount $5" >&2; exit 32; }; rmdir "$6"; ln -s "$5.fs" "$6"`,
		"umount":   `rm "$1"; mkdir "$1"`,
		"modprobe": "exit 1",
	} {
		m.write("bin/"+name, []byte("#!/bin/sh\nset -e\n"+body+"\n"))
		if err := os.Chmod(m.path("bin/"+name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// table has a state partition whose GUID begins with state, unless that is 0.
func table(state byte) []byte {
	parts := []disktest.Partition{
		{Label: "k8snode-seed", GUID: [16]byte{1}, Start: mib, Size: mib},
		{Label: "esp", GUID: [16]byte{2}, Start: 2 * mib, Size: mib},
		{Label: "k8snode-root", Start: 3 * mib, Size: mib, GUID: [16]byte{
			0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
		}},
	}
	if state != 0 {
		parts = append(parts, disktest.Partition{Label: "k8snode-state", GUID: [16]byte{state}, Start: 4 * mib, Size: mib})
	}
	return disktest.GPT(parts...)
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

// has checks a file; "" means that it must not exist.
func (m *machine) has(name, want string) {
	m.t.Helper()
	got, err := os.ReadFile(m.path(name))
	if want == "" && os.IsNotExist(err) {
		return
	}
	if err != nil || want == "" || string(got) != want {
		m.t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
	}
}

// says checks the console and empties it.
func (m *machine) says(want ...string) {
	m.t.Helper()
	got := strings.Split(strings.TrimSuffix(m.console.String(), "\n"), "\n")
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		m.t.Errorf("the console says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	m.console.Reset()
}

func (m *machine) install(stub string) {
	m.t.Helper()
	data, err := seed.Encode([]byte(stub), mib)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write("dev/sda1", append(data, make([]byte, mib-len(data))...))
}

// ignition is what Ignition and the units do: a state partition with a new
// file system, mounted in the new root.
func (m *machine) ignition(state byte) {
	m.t.Helper()
	m.write("dev/sda", table(state))
	m.write("dev/sda4", xfs(0))
	m.write("dev/sda4.fs/lib/k8snode/var.done", nil)
	os.Remove(m.path("sysroot/var"))
	if err := os.MkdirAll(m.path("sysroot"), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Symlink(m.path("dev/sda4.fs"), m.path("sysroot/var")); err != nil {
		m.t.Fatal(err)
	}
}

func xfs(inProgress byte) []byte {
	b := make([]byte, 4096)
	copy(b, "XFSB")
	b[126] = inProgress
	return b
}

func (m *machine) options() seed.Options {
	return seed.Options{Args: m.args, Root: m.root, Runner: command.Runner{Dir: m.path("bin")}, Wait: -1, Console: &m.console}
}

// prepare is the begin of a boot: nothing in /run.
func (m *machine) prepare() error {
	m.t.Helper()
	if err := os.RemoveAll(m.path("run")); err != nil {
		m.t.Fatal(err)
	}
	return seed.Prepare(context.Background(), m.options())
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

const (
	fromSeed = "k8snode: first boot: the config comes from the seed partition"
	later    = "k8snode: the first boot of this machine is done, Ignition does not run"
	done     = "k8snode: the first boot is done"
)

func TestFirstAndLaterBoot(t *testing.T) {
	m := newMachine(t)
	m.install("stub")
	m.must(m.prepare())
	m.says(fromSeed)
	m.has("run/k8snode/ignition/user.ign", "stub")
	m.has("run/k8snode/ignition/cmdline", "\n")
	m.has("run/k8snode/boot.env", "STATE=disk\nSTATE_DEVICE=/dev/k8snode/state\n")
	for _, name := range []string{"ignition/user.ign", "ignition/cmdline", "firstboot"} {
		if info, err := os.Stat(m.path("run/k8snode/" + name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s is readable by others: %v, %v", name, info, err)
		}
	}

	m.ignition(9)
	m.must(seed.Finish(context.Background(), m.options()))
	m.says(done)
	m.has("dev/sda1", string(make([]byte, mib)))
	data, err := os.ReadFile(m.path("dev/sda4.fs/lib/k8snode/ignition.done"))
	m.must(err)
	var marker map[string]string
	m.must(json.Unmarshal(data, &marker))
	if marker["partition"] != "00000009-0000-0000-0000-000000000000" || marker["source"] != "seed" || len(marker["sha256"]) != 64 {
		t.Errorf("the marker is %s", data)
	}

	m.must(m.prepare())
	m.says(later)
	m.has("run/k8snode/firstboot", "")
	m.has("run/k8snode/ignition/user.ign", "")
	// On such a boot there is nothing to finish.
	m.must(seed.Finish(context.Background(), m.options()))
	m.says("")
}

// Each step is a power cut and what the next boot does.
func TestPowerCuts(t *testing.T) {
	m := newMachine(t)
	m.install("stub")
	// Before anything.
	m.must(m.prepare())
	m.says(fromSeed)
	// The partition is there; at its place, the file system of an earlier
	// installation with a marker.
	m.ignition(9)
	m.write("dev/sda4.fs/lib/k8snode/ignition.done", []byte(`{"partition":"00000008-0000-0000-0000-000000000000","source":"seed","sha256":"x"}`))
	m.must(m.prepare())
	m.says(fromSeed)
	// mkfs.xfs was cut off.
	m.write("dev/sda4", xfs(1))
	m.must(m.prepare())
	m.says(fromSeed)
	// The files stage was cut off.
	m.must(os.RemoveAll(m.path("dev/sda4.fs")))
	m.ignition(9)
	m.must(m.prepare())
	m.says(fromSeed)
	// The marker is durable, the seed is whole.
	m.must(seed.Finish(context.Background(), m.options()))
	m.says(done)
	m.install("stub")
	m.must(m.prepare())
	m.says(later, "k8snode: erasing the config from the seed partition, which was used up")
	m.has("dev/sda1", string(make([]byte, mib)))
	// The seed's header is there, its payload is not.
	m.install("stub")
	data, err := os.ReadFile(m.path("dev/sda1"))
	m.must(err)
	clear(data[44:])
	m.write("dev/sda1", data)
	m.must(m.prepare())
	m.says(later, "k8snode: erasing the config from the seed partition, which was used up")
	m.has("dev/sda1", string(make([]byte, mib)))
	// A new installation that keeps the table and the state.
	m.install("another stub")
	m.must(m.prepare())
	m.says(fromSeed)
	// The seed is lost before it was used.
	m.write("dev/sda1", make([]byte, mib))
	m.must(os.Remove(m.path("dev/sda4.fs/lib/k8snode/ignition.done")))
	if err := m.prepare(); err == nil || !strings.HasPrefix(err.Error(), "the first boot of this machine was not finished and its config is gone: ") {
		t.Errorf("got %v", err)
	}
	m.has("run/k8snode/firstboot", "")
}

func TestConfigOnESP(t *testing.T) {
	m := newMachine(t)
	const file, used = "dev/sda2.fs/k8snode/user.ign", "dev/sda2.fs/k8snode/user.ign.used"
	m.write(file, []byte("config"))
	m.must(m.prepare())
	m.says("k8snode: first boot: the config comes from /k8snode/user.ign on the EFI system partition")
	m.has("run/k8snode/ignition/user.ign", "config")
	m.has(file, "config")
	m.ignition(9)
	m.must(seed.Finish(context.Background(), m.options()))
	m.says(done)
	m.has(file, "")
	m.has(used, "")
	const erasing = "k8snode: erasing the config from /k8snode/user.ign on the EFI system partition, which was used up"
	for _, name := range []string{file, used} {
		m.write(name, []byte("config"))
		m.must(m.prepare())
		m.says(later, erasing)
		m.has(name, "")
	}
	m.write(file, []byte("another"))
	m.must(m.prepare())
	m.says(later, "k8snode: warning: the config from /k8snode/user.ign on the EFI system partition is not read, "+
		"because this machine is set up: reinstall it to use that")
	m.has(file, "another")
	// A broken ESP does not stop a node that is set up.
	m.must(os.RemoveAll(m.path("dev/sda2.fs")))
	m.must(m.prepare())
	m.says("k8snode: warning: looking for a config on the ESP: running mount -t vfat -o ro "+m.path("dev/sda2")+" "+
		m.path("run/k8snode/esp")+": exit status 32: cannot mount "+m.path("dev/sda2"), later)
}

func TestOtherSources(t *testing.T) {
	const (
		etc      = "etc/k8snode/user.ign"
		usr      = "usr/lib/ignition/user.ign"
		firmware = "sys/firmware/qemu_fw_cfg/by_name/opt/com.coreos/config/raw"
	)
	m := newMachine(t)
	m.args.ConfigURL = "https://10.0.0.1/c?token=secret"
	m.must(m.prepare())
	m.says("k8snode: first boot: the config comes from ignition.config.url")
	m.has("run/k8snode/ignition/user.ign", "")
	m.has("run/k8snode/ignition/cmdline", "ignition.config.url=https://10.0.0.1/c?token=secret\n")
	m.write(firmware, []byte("from firmware"))
	m.must(m.prepare())
	m.says("k8snode: first boot: the config comes from QEMU's fw_cfg")
	m.has("run/k8snode/ignition/user.ign", "from firmware")
	for _, name := range []string{usr, etc} {
		m.write(name, []byte(name))
		m.must(m.prepare())
		m.says("k8snode: first boot: the config comes from an archive appended to the initramfs")
		m.has("run/k8snode/ignition/user.ign", name)
		m.has("run/k8snode/ignition/cmdline", "\n")
	}
	m.write(etc, nil)
	err := m.prepare()
	if want := "reading the config of an archive appended to the initramfs: " + m.path(etc) + " is empty"; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestStateInMemory(t *testing.T) {
	m := newMachine(t)
	m.args = cmdline.Args{Root: cmdline.Root{Kind: cmdline.File, Value: "/r"}, State: cmdline.Tmpfs}
	m.install("of the disk that happens to be there")
	err := m.prepare()
	if err == nil || !strings.HasPrefix(err.Error(), "there is no config, and with its state in memory ") {
		t.Errorf("got %v", err)
	}
	m.has("run/k8snode/boot.env", "STATE=tmpfs\n")
	m.write("etc/k8snode/user.ign", []byte("config"))
	for range 2 {
		m.must(m.prepare())
		m.says("k8snode: first boot: the config comes from an archive appended to the initramfs")
		m.must(seed.Finish(context.Background(), m.options()))
	}
	m.has("sysroot/var/lib/k8snode/ignition.done", "")
}

func TestLiveWithStateOnDisk(t *testing.T) {
	m := newMachine(t)
	m.args = cmdline.Args{Root: cmdline.Root{Kind: cmdline.File, Value: "/r"}, State: cmdline.Disk}
	m.write("etc/k8snode/user.ign", []byte("config"))
	m.must(m.prepare())
	m.says("k8snode: first boot: the config comes from an archive appended to the initramfs")
	m.has("run/k8snode/boot.env", "STATE=disk\nSTATE_DEVICE=/dev/disk/by-partlabel/k8snode-state\n")
	err := seed.Finish(context.Background(), m.options())
	want := `finishing first boot: the config made no partition labelled "k8snode-state": with k8snode.state=disk it must`
	if fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
	m.ignition(9)
	m.must(seed.Finish(context.Background(), m.options()))
	m.says(done)
	m.must(m.prepare())
	m.says(later)
	// A state that cannot be mounted is not made anew.
	m.must(os.Rename(m.path("dev/sda4.fs"), m.path("dev/sda4.gone")))
	if err := m.prepare(); err == nil || !strings.HasPrefix(err.Error(), "the state partition cannot be read and a new first boot would erase it: ") {
		t.Errorf("got %v", err)
	}
	// Two of them: no guess.
	m.write("dev/sdb", table(7))
	want = `/dev/sda and /dev/sdb both have a partition labelled "k8snode-state": erase or remove the one that this machine shall not use`
	if err := m.prepare(); fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestWhichDisk(t *testing.T) {
	m := newMachine(t)
	m.write("dev/sdb", table(0))
	want := "several disks have the root partition " + rootGUID + " (/dev/sda, /dev/sdb): erase or remove the ones that this machine shall not boot"
	if err := m.prepare(); fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
	m.args.Root.Value = "11112233-4455-6677-8899-aabbccddeeff"
	want = "no disk has the root partition 11112233-4455-6677-8899-aabbccddeeff"
	if err := m.prepare(); fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A program that is missing is no sign that the marker is.
func TestStateNeedsMount(t *testing.T) {
	m := newMachine(t)
	m.ignition(9)
	m.must(os.Remove(m.path("bin/mount")))
	err := m.prepare()
	if err == nil || !strings.HasPrefix(err.Error(), "the state partition cannot be read: running mount ") {
		t.Errorf("got %v", err)
	}
}

func TestLargeSectors(t *testing.T) {
	m := newMachine(t)
	m.write("sys/block/sda/queue/logical_block_size", []byte("4096\n"))
	m.write("dev/sda", disktest.GPTOf(4096, [16]byte{}, disktest.Partition{Label: "k8snode-seed", Start: mib, Size: mib},
		disktest.Partition{Label: "k8snode-root", Start: 3 * mib, Size: mib, GUID: [16]byte{
			0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
		}}))
	m.install("stub")
	m.must(m.prepare())
	m.says(fromSeed)
}
