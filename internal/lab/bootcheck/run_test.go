package bootcheck_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab/bootcheck"
	"github.com/k8snode/k8snode/internal/qemu"
)

func scenario(t *testing.T, name string) bootcheck.Scenario {
	t.Helper()
	for _, s := range bootcheck.Scenarios() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("there is no scenario %s", name)
	return bootcheck.Scenario{}
}

// imageFolder is the output of a bake that made a manifest only.
func imageFolder(t *testing.T) string {
	t.Helper()
	data, err := json.Marshal(images.Manifest{APIVersion: images.APIVersion, Kind: images.ManifestKind, Disk: images.DiskInfo{SectorSize: 512}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, images.ManifestFile), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What can be known before a machine starts is refused then.
func TestRunRefuses(t *testing.T) {
	image, full, empty := imageFolder(t), t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		scenario string
		opts     bootcheck.Options
		want     string
	}{
		{"esp", bootcheck.Options{Dir: "x", Image: "y"}, "boot esp: the clock is not given"},
		{"esp", bootcheck.Options{Dir: full, Image: image, Now: time.Now}, "boot esp: the work folder " + full + " is not empty"},
		{"esp", bootcheck.Options{Dir: empty, Image: full, Now: time.Now}, "boot esp: reading the image: open " + full + "/manifest.json: no such file or directory; bake one with \"k8snode bake\""},
		{"disk-4096", bootcheck.Options{Dir: empty, Image: image, Now: time.Now}, "boot disk-4096: the image is for disks with sectors of 512 bytes, want 4096"},
	} {
		if _, err := bootcheck.Run(t.Context(), scenario(t, tt.scenario), tt.opts); errorText(err) != tt.want {
			t.Errorf("got error %v, want %q", err, tt.want)
		}
	}
}

func TestRunWithoutArtifacts(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	image := imageFolder(t)
	for name, missing := range map[string]string{
		"disk-uefi": images.RawFile, "pxe-bios": images.KernelFile, "usb-uefi": images.ISOFile, "kubernetes": images.RawFile,
	} {
		opts := bootcheck.Options{Dir: t.TempDir(), Image: image, StateDir: t.TempDir(), Now: time.Now}
		_, err := bootcheck.Run(context.Background(), scenario(t, name), opts)
		want := "boot " + name + ": the image in " + image + " has no " + missing + ": its recipe must ask for that output\n"
		if !strings.HasPrefix(errorText(err), want) {
			t.Errorf("got error %v, want it to begin with %q", err, want)
		}
	}
}

// Only the overlay changes, and one byte of it.
func TestFlipByte(t *testing.T) {
	for _, program := range []string{qemu.ImageProgram, "qemu-io"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s: run scripts/host-packages.sh test", program)
		}
	}
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	before := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	if err := os.WriteFile(in("disk.raw"), before, 0o600); err != nil {
		t.Fatal(err)
	}
	qemuImg := func(args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), qemu.ImageProgram, args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	qemuImg(qemu.Overlay(in("disk.qcow2"), in("disk.raw"), 0)...)
	const start, offset = 512 << 10, 8
	d := images.DiskInfo{Partitions: []images.Partition{{Label: images.LabelRoot, Start: start}}}
	if err := bootcheck.FlipByte(t.Context(), in("disk.raw"), in("disk.qcow2"), d, images.LabelRoot, offset); err != nil {
		t.Fatal(err)
	}
	qemuImg("convert", "-O", "raw", in("disk.qcow2"), in("after.raw"))
	after, err := os.ReadFile(in("after.raw"))
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(before)
	want[start+offset] ^= 0xff
	if !bytes.Equal(after, want) {
		t.Error("the overlay differs from the image in more or less than one byte")
	}
	if image, err := os.ReadFile(in("disk.raw")); err != nil || !bytes.Equal(image, before) {
		t.Errorf("the image has changed (%v)", err)
	}
	wantErr := "the manifest names no partition k8snode-root"
	if err := bootcheck.FlipByte(t.Context(), in("disk.raw"), in("disk.qcow2"), images.DiskInfo{}, images.LabelRoot, offset); errorText(err) != wantErr {
		t.Errorf("got error %v, want %s", err, wantErr)
	}
}
