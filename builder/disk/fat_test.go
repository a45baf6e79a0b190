package disk_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder/disk"
)

func small() disk.FAT {
	return disk.FAT{Label: "ESP", Serial: 0x12345678, Epoch: epoch, Files: []disk.FATFile{
		{Path: "/EFI/BOOT/BOOTX64.EFI", Content: content[:700_001]},
		{Path: "/EFI/BOOT/grub.cfg", Content: []byte("configuration\n")},
		{Path: "/a long name, in Two Cases.txt", Content: []byte("x")},
	}}
}

func TestFAT(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, name := range []string{a, b} {
		if err := small().Write(name); err != nil {
			t.Fatal(err)
		}
	}
	first, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(b); err != nil || !bytes.Equal(first, again) {
		t.Error("written twice, it differs")
	}
	run(t, "fsck.fat", "-n", a)
	if !bytes.Equal(first[39:43], []byte{0x78, 0x56, 0x34, 0x12}) {
		t.Errorf("the serial number is % x", first[39:43])
	}
	files, err := disk.ReadFAT(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	var got []disk.FATFile
	for _, f := range files {
		x := f.Extents[0]
		got = append(got, disk.FATFile{Path: "/" + f.Path, Content: first[x.Offset:][:f.Size]})
		if !f.ModTime.Equal(epoch) {
			t.Errorf("%s was modified at %v", f.Path, f.ModTime)
		}
	}
	if diff := cmp.Diff(small().Files, got); diff != "" {
		t.Error(diff)
	}
}

func TestFATRefuses(t *testing.T) {
	name := filepath.Join(t.TempDir(), "fat")
	if err := small().Write(name); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// The table of this file system begins at sector 4; its first file has the
	// clusters from 4 on.
	const table = 4 * 512
	for _, tc := range []struct {
		name   string
		change func([]byte)
		err    string
	}{
		{"no signature", func(b []byte) { b[510] = 0 }, "reading the boot sector: not a FAT file system"},
		{"no clusters", func(b []byte) { b[13] = 128 }, "reading the boot sector: 79 clusters and a table for 5118 are out of range"},
		{"loop", func(b []byte) { copy(b[table+2*10:], "\x09\x00") }, `reading "EFI/BOOT/BOOTX64.EFI": a chain of clusters never ends`},
		{"free cluster", func(b []byte) { copy(b[table+2*10:], "\x00\x00") }, `reading "EFI/BOOT/BOOTX64.EFI": cluster 10 is followed by 0`},
		{"cluster behind the end", func(b []byte) { copy(b[table+2*10:], "\xf0\xf0") }, `reading "EFI/BOOT/BOOTX64.EFI": cluster 61680 is out of range`},
		{"short chain", func(b []byte) { copy(b[table+2*10:], "\xff\xff") }, `reading "EFI/BOOT/BOOTX64.EFI": 700001 bytes are in clusters of 6144`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := bytes.Clone(good)
			tc.change(b)
			if _, err := disk.ReadFAT(bytes.NewReader(b)); err == nil || err.Error() != tc.err {
				t.Errorf("error %v, want %s", err, tc.err)
			}
		})
	}
}

func FuzzReadFAT(f *testing.F) {
	name := filepath.Join(f.TempDir(), "fat")
	if err := small().Write(name); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[:32<<10])
	f.Fuzz(func(_ *testing.T, b []byte) {
		// The rest of the file system is as it was.
		_, _ = disk.ReadFAT(bytes.NewReader(append(b, good[min(len(b), len(good)):]...)))
	})
}

func TestNewFS(t *testing.T) {
	files := disk.NewFS(bytes.NewReader([]byte("..world..hello, ..")), []disk.File{
		{Path: "a/b/greeting", Size: 12, Extents: []disk.Extent{{Offset: 9, Size: 7}, {Offset: 2, Size: 7}}},
		{Path: "a/empty"},
		{Path: "z", Size: 5, Extents: []disk.Extent{{Offset: 2, Size: 5}}},
	})
	if err := fstest.TestFS(files, "a/b/greeting", "a/empty", "z"); err != nil {
		t.Error(err)
	}
	f, err := files.Open("a/b/greeting")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(f); err != nil || b.String() != "hello, world" {
		t.Errorf("read %q, %v", b.String(), err)
	}
	if _, err := files.Open("a/none"); err == nil || err.Error() != "open a/none: file does not exist" {
		t.Errorf("error %v", err)
	}
}
