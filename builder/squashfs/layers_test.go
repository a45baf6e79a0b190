package squashfs_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/squashfs"
	"github.com/k8snode/k8snode/builder/tree"
)

// without returns the entries that keep keeps.
func without(entries []squashfs.Entry, paths ...string) []squashfs.Entry {
	return slices.DeleteFunc(slices.Clone(entries), func(e squashfs.Entry) bool { return slices.Contains(paths, e.Path) })
}

// A later layer replaces names, and keeps the folders that it finds.
func TestLayers(t *testing.T) {
	lower := append(everything(), symlink("etc/localtime", "UTC"), dir("etc/becomes-file", 0o755), symlink("etc/becomes-file/x", "y"), symlink("becomes-dir", "tmp"))
	bin := dir("bin", 0o700)
	bin.UID = 7
	upper := []squashfs.Entry{
		bin, file("bin/kubelet", noise(3*block, 9)), file("bin/small", "small"), hardLink("bin/kubelet-again", "bin/kubelet"),
		symlink("etc/localtime", "Zulu"), file("etc/becomes-file", "now a file"), file("becomes-dir/file", "below a folder"),
	}
	top := []squashfs.Entry{file("bin/agent", text(2*block)), file("size/noise-0", "not empty any more")}
	owner := upper[1:]
	want := append(without(lower, "etc/localtime", "etc/becomes-file", "etc/becomes-file/x", "becomes-dir", "size/noise-0"), owner...)
	want = append(want, top...)

	name, _, err := assemble(t, pack(t, lower, squashfs.PackOptions{}), pack(t, upper, squashfs.PackOptions{Level: 12}), pack(t, top, squashfs.PackOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, name, rows(t, want))
}

// One of several names may be replaced; the data is still somebody's.
func TestReplacedName(t *testing.T) {
	lower := []squashfs.Entry{file("a", "two names"), hardLink("b", "a"), hardLink("c", "a")}
	name, _, err := assemble(t, pack(t, lower, squashfs.PackOptions{}), pack(t, []squashfs.Entry{file("a", "new")}, squashfs.PackOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, name, rows(t, []squashfs.Entry{file("a", "new"), file("b", "two names"), hardLink("c", "b")}))
}

func TestAssembleErrors(t *testing.T) {
	layer := func(entries ...squashfs.Entry) string { return pack(t, entries, squashfs.PackOptions{}) }
	few := layer(file("a", "1"), file("b", "1"), file("d/c", "1"), file("d/d", "1"))
	for _, tt := range []struct {
		name   string
		layers []string
		want   string
	}{
		{"one", []string{few}, ""},
		{"empty", []string{layer()}, ""},
		{"none", nil, "assembling the file system: there is no layer"},
		{"replaced file", []string{few, layer(file("a", "2"))}, "assembling the file system: a later layer replaces /a: " + squashfs.ErrReplaced.Error()},
		{"replaced by itself", []string{few, few}, "assembling the file system: a later layer replaces /a, /b, /d/c and 1 more: " + squashfs.ErrReplaced.Error()},
		{"replaced folder", []string{few, layer(symlink("d", "a"))}, "assembling the file system: a later layer replaces /d/c, /d/d: " + squashfs.ErrReplaced.Error()},
		{"file becomes folder", []string{few, layer(file("b/x", ""))}, "assembling the file system: a later layer replaces /b: " + squashfs.ErrReplaced.Error()},
		{"empty file", []string{layer(file("a", "")), few}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name, _, err := assemble(t, tt.layers...)
			if fmt.Sprint(err) != fmt.Sprint(wanted(tt.want)) {
				t.Fatalf("got  %v\nwant %s", err, tt.want)
			}
			if strings.Contains(tt.want, "replaces") != errors.Is(err, squashfs.ErrReplaced) {
				t.Errorf("%v is ErrReplaced: %t", err, errors.Is(err, squashfs.ErrReplaced))
			}
			if err == nil {
				dump(t, mount(t, name))
			}
		})
	}

	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	big := pack(t, nil, squashfs.PackOptions{BlockSize: 8192})
	_, err = squashfs.Assemble(t.Context(), out, open(t, few, big), squashfs.AssembleOptions{Epoch: epoch})
	if want := fmt.Sprintf("assembling the file system: the layer %q has blocks of 8192 bytes, %q of 4096", big, few); fmt.Sprint(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, err = squashfs.Assemble(t.Context(), out, open(t, few), squashfs.AssembleOptions{Epoch: time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)})
	if want := "assembling the file system: the epoch 1969-12-31T00:00:00Z is not between 1970 and 2106"; fmt.Sprint(err) != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := squashfs.Assemble(canceled, out, open(t, few), squashfs.AssembleOptions{Epoch: epoch}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if err := squashfs.Pack(canceled, out, []squashfs.Entry{file("a", noise(100*block, 1))}, squashfs.PackOptions{BlockSize: block}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// What was in the file before is gone.
func TestAssembleOverOld(t *testing.T) {
	name, _, err := assemble(t, pack(t, everything(), squashfs.PackOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(t.TempDir(), "old")
	if err := os.WriteFile(old, bytes.Repeat([]byte("old"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(old, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := squashfs.Assemble(t.Context(), f, open(t, pack(t, everything(), squashfs.PackOptions{})), squashfs.AssembleOptions{Epoch: epoch}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, old), read(t, name)) {
		t.Error("the file differs from a new one")
	}
}

// A layer that lost a bit is noticed: at once in its index, by Check in its data.
func TestDamage(t *testing.T) {
	name := pack(t, []squashfs.Entry{file("a", noise(2*block, 1))}, squashfs.PackOptions{})
	if err := open(t, name)[0].Check(t.Context()); err != nil {
		t.Error(err)
	}
	good := read(t, name)
	damaged := filepath.Join(t.TempDir(), "damaged")
	for _, tt := range []struct {
		name string
		make func([]byte) []byte
		want string
	}{
		{"data", func(b []byte) []byte { b[block] ^= 1; return b }, fmt.Sprintf("reading the layer %q: its data is damaged", damaged)},
		{"index", func(b []byte) []byte { b[2*block+3] ^= 1; return b }, fmt.Sprintf("opening the layer %q: the index is damaged", damaged)},
		{"lengths", func(b []byte) []byte { b[len(b)-64-16] ^= 1; return b }, fmt.Sprintf("opening the layer %q: it is not a packed layer", damaged)},
		{"version", func(b []byte) []byte { return bytes.Replace(b, []byte("k8sqfs01"), []byte("k8sqfs02"), 1) }, fmt.Sprintf("opening the layer %q: it is not a packed layer", damaged)},
		{"end", func(b []byte) []byte { return b[:len(b)-1] }, fmt.Sprintf("opening the layer %q: it is not a packed layer", damaged)},
		{"beginning", func(b []byte) []byte { return b[1:] }, fmt.Sprintf("opening the layer %q: it is not a packed layer", damaged)},
		{"all", func([]byte) []byte { return nil }, fmt.Sprintf("opening the layer %q: it is not a packed layer", damaged)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(damaged, tt.make(bytes.Clone(good)), 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := squashfs.Open(damaged)
			if err == nil {
				defer l.Close()
				err = l.Check(t.Context())
			}
			if fmt.Sprint(err) != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
	if _, err := squashfs.Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// FuzzIndex: what is taken is what is written, and nothing crashes.
func FuzzIndex(f *testing.F) {
	for _, entries := range [][]squashfs.Entry{nil, everything()} {
		name := filepath.Join(f.TempDir(), "layer")
		var b bytes.Buffer
		if err := squashfs.Pack(f.Context(), &b, entries, squashfs.PackOptions{BlockSize: block}); err != nil {
			f.Fatal(name, err)
		}
		trailer := b.Bytes()[b.Len()-88:]
		data := int(trailer[8]) | int(trailer[9])<<8 | int(trailer[10])<<16
		index := b.Bytes()[data : b.Len()-88]
		if _, err := squashfs.DecodeIndex(index, uint64(data)); err != nil {
			f.Fatal(err)
		}
		f.Add(index, uint64(data))
	}
	f.Fuzz(func(t *testing.T, b []byte, data uint64) {
		again, err := squashfs.DecodeIndex(b, data>>1)
		if err != nil {
			return
		}
		if _, err := squashfs.DecodeIndex(again, data>>1); err != nil {
			t.Errorf("what was read is written as something else: %v", err)
		}
	})
}

func TestBeneath(t *testing.T) {
	keep := squashfs.Beneath(func(p string) bool { return p != "proc" }, []string{"etc/conf", "opt", "usr/bin/x"})
	for p, want := range map[string]bool{
		"etc": true, "etc/conf": false, "etc/conf/below": false, "etc/conf2": true, "opt": false, "opt/x": false,
		"usr": true, "usr/bin": true, "usr/bin/x": false, "proc": false, "else": true,
	} {
		if keep(p) != want {
			t.Errorf("%s: %t", p, keep(p))
		}
	}
	if !squashfs.Beneath(nil, nil)("all") {
		t.Error("no filter and nothing above drops a file")
	}
}

// A tree becomes what it says.
func TestFromTree(t *testing.T) {
	host := filepath.Join(t.TempDir(), "host")
	if err := os.WriteFile(host, []byte(text(3*block)), 0o600); err != nil {
		t.Fatal(err)
	}
	large, err := tree.FromFile("bin/large", host, 0o755|fs.ModeSetuid)
	if err != nil {
		t.Fatal(err)
	}
	all, err := tree.New([]tree.Entry{
		large, {Path: "bin/sh", Kind: tree.Symlink, Target: "large"}, {Path: "tmp", Kind: tree.Dir, Mode: 0o777 | fs.ModeSticky},
		{Path: "etc/conf", Kind: tree.File, Mode: 0o640 | fs.ModeSetgid, UID: 1, GID: 2, Content: []byte("conf")}, {Path: "etc/none", Kind: tree.File, Mode: 0o600},
	})
	if err != nil {
		t.Fatal(err)
	}
	big, conf, none := file("bin/large", text(3*block)), file("etc/conf", "conf"), file("etc/none", "")
	big.Mode, conf.Mode, conf.UID, conf.GID, none.Mode = 0o4755, 0o2640, 1, 2, 0o600
	want := rows(t, []squashfs.Entry{big, symlink("bin/sh", "large"), dir("tmp", 0o1777), conf, none})
	if diff := cmp.Diff(want, rows(t, squashfs.FromTree(all))); diff != "" {
		t.Error(diff)
	}
	compare(t, image(t, squashfs.FromTree(all)), want)
}

// archive makes an archive from headers; the content of a file is its Uname.
func archive(t *testing.T, headers ...tar.Header) *bytes.Reader {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		body := h.Uname
		h.Uname, h.Size, h.ModTime = "", int64(len(body)), epoch
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(b.Bytes())
}

func TestFromTar(t *testing.T) {
	long := strings.Repeat("long/", 40) + "name"
	in := archive(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700, Uid: 9},
		tar.Header{Name: "./bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "./bin/su", Mode: 0o4755, Uname: "first", Uid: 70_000, Gid: 5},
		tar.Header{Name: "./dropped", Mode: 0o600, Uname: "dropped file with links"},
		tar.Header{Name: "./bin/su", Mode: 0o4711, Uname: "second counts"},
		tar.Header{Name: "./bin/b", Typeflag: tar.TypeLink, Linkname: "./dropped"},
		tar.Header{Name: "./bin/a", Typeflag: tar.TypeLink, Linkname: "bin/b"},
		tar.Header{Name: long, Mode: 0o644, Uname: text(5000)},
		tar.Header{Name: "bin/sh", Typeflag: tar.TypeSymlink, Linkname: "../x/../su", Mode: 0o123},
		tar.Header{Name: "dev/sda", Typeflag: tar.TypeBlock, Devmajor: 8, Devminor: 1, Mode: 0o660},
		tar.Header{Name: "dev/tty", Typeflag: tar.TypeChar, Devmajor: 5, Mode: 0o666},
		tar.Header{Name: "dev/pipe", Typeflag: tar.TypeFifo, Mode: 0o600},
		tar.Header{Name: "bin/ping", Mode: 0o755, Uname: "ping", PAXRecords: map[string]string{
			"SCHILY.xattr.security.capability": capability, "SCHILY.xattr.system.posix_acl_access": "\x02\x00",
		}},
	)
	entries, err := squashfs.FromTar(in, in.Size(), func(p string) bool { return p != "dropped" && p != "dev/tty" })
	if err != nil {
		t.Fatal(err)
	}
	su, a, ping := file("bin/su", "second counts"), file("bin/a", "dropped file with links"), file("bin/ping", "ping")
	su.Mode, a.Mode, ping.Mode = 0o4711, 0o600, 0o755
	ping.Xattrs = map[string]string{"security.capability": capability}
	want := rows(t, []squashfs.Entry{
		dir("bin", 0o755), su, a, hardLink("bin/b", "bin/a"), ping, file(long, text(5000)), symlink("bin/sh", "../x/../su"),
		{Path: "dev/sda", Kind: squashfs.BlockDevice, Mode: 0o660, Major: 8, Minor: 1}, {Path: "dev/pipe", Kind: squashfs.FIFO, Mode: 0o600},
	})
	if diff := cmp.Diff(want, rows(t, entries)); diff != "" {
		t.Error(diff)
	}
	compare(t, image(t, entries), want)
}

func TestFromTarErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   *bytes.Reader
		want string
	}{
		{"empty", archive(t), ""},
		{"no archive", bytes.NewReader(bytes.Repeat([]byte("x"), 1024)), "reading the archive: archive/tar: invalid tar header"},
		{"no target", archive(t, tar.Header{Name: "a", Typeflag: tar.TypeLink, Linkname: "./b"}), "reading the archive: /a: it is a hard link to /b, which does not come before it"},
		{"type", archive(t, tar.Header{Name: "a", Typeflag: 'V'}), `reading the archive: /a: entries of type 'V' cannot be packed`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := squashfs.FromTar(tt.in, tt.in.Size(), nil)
			if fmt.Sprint(err) != fmt.Sprint(wanted(tt.want)) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
	// The archive ends in the middle of a file: seen at the latest when packing.
	whole := archive(t, tar.Header{Name: "a", Uname: noise(3*block, 1)})
	cut := bytes.NewReader(bytes.Clone(whole2bytes(t, whole)[:2*block]))
	entries, err := squashfs.FromTar(cut, cut.Size(), nil)
	if err == nil {
		err = squashfs.Pack(t.Context(), &bytes.Buffer{}, entries, squashfs.PackOptions{})
	}
	if err == nil {
		t.Error("an archive that ends early is packed")
	}
}

func whole2bytes(t *testing.T, r *bytes.Reader) []byte {
	t.Helper()
	b := make([]byte, r.Size())
	if _, err := r.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}
