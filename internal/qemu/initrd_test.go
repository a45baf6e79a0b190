package qemu_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/internal/qemu"
	"github.com/k8snode/k8snode/provision/cpio"
)

// The kernel looks for an archive behind another one on multiples of four,
// and skips zeros.
func TestWriteInitrd(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("needs cpio: run scripts/host-packages.sh bake")
	}
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	// Not a multiple of four.
	initrd := []byte("a compressed archive.")
	root := bytes.Repeat([]byte("root"), 1000)
	for name, content := range map[string][]byte{"initrd.img": initrd, "rootfs.squashfs": root} {
		if err := os.WriteFile(in(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got bytes.Buffer
	config := cpio.File{Path: "/etc/k8snode/user.ign", Mode: 0o600, Data: []byte("{}")}
	if err := qemu.WriteInitrd(&got, in("initrd.img"), in("rootfs.squashfs"), "/rootfs.squashfs", config); err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(got.Bytes(), append(initrd, 0, 0, 0)) {
		t.Errorf("it begins with %q", got.Bytes()[:32])
	}
	archives := got.Bytes()[len(initrd)+3:]
	var listed []string
	for len(archives) > 0 {
		list := exec.CommandContext(t.Context(), "cpio", "--list", "--quiet")
		list.Stdin = bytes.NewReader(archives)
		names, err := list.Output()
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, strings.Fields(string(names))...)
		end := bytes.Index(archives, []byte("TRAILER!!!"))
		archives = bytes.TrimLeft(archives[end+len("TRAILER!!!"):], "\x00")
	}
	want := []string{"rootfs.squashfs", "etc", "etc/k8snode", "etc/k8snode/user.ign"}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}

	wantErr := "joining the initramfs: open " + in("none") + ": no such file or directory"
	for _, paths := range [][2]string{{in("none"), in("rootfs.squashfs")}, {in("initrd.img"), in("none")}} {
		if err := qemu.WriteInitrd(&bytes.Buffer{}, paths[0], paths[1], "/rootfs.squashfs"); errorText(err) != wantErr {
			t.Errorf("got error %v, want %s", err, wantErr)
		}
	}
	full := errors.New("disk full")
	if err := qemu.WriteInitrd(refusing{full}, in("initrd.img"), in("rootfs.squashfs"), "/rootfs.squashfs"); !errors.Is(err, full) {
		t.Errorf("got error %v, want one that wraps %v", err, full)
	}
}

type refusing struct{ err error }

func (r refusing) Write([]byte) (int, error) { return 0, r.err }
