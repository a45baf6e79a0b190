package library_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/library"
)

// A process that ends between the last byte of a file and its check leaves a
// file that is whole and has no name yet.
func TestEndedBeforeCheck(t *testing.T) {
	content := bytesOf(images.DiskFile)
	for _, tt := range []struct {
		name    string
		content []byte
		want    int64
	}{
		{"right", content, int64(len(content))},
		{"wrong", bytes.ToUpper(content), 0},
		{"too long", append(bytesOf(images.DiskFile), 'x'), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, dir := open(t)
			m := manifest("aa")
			have(t, l, m)
			part := filepath.Join(dir, ".incoming", "aa", images.DiskFile+".part")
			if err := os.WriteFile(part, tt.content, 0o600); err != nil {
				t.Fatal(err)
			}
			if got := have(t, l, m)[images.DiskFile]; got != tt.want {
				t.Errorf("%d bytes, want %d", got, tt.want)
			}
			publish(t, l, m)
		})
	}
}

// The rest of an upload does not stay when another image brings the bytes.
func TestPartThenKnown(t *testing.T) {
	l, dir := open(t)
	second := manifest("bb")
	have(t, l, second)
	if _, err := l.Append(context.Background(), "bb", images.DiskFile, 0, bytes.NewReader(bytesOf(images.DiskFile)[:10])); err != nil {
		t.Fatal(err)
	}
	publish(t, l, manifest("aa"))
	publish(t, l, second)
	entries, err := os.ReadDir(filepath.Join(dir, "bb"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), "SHA256SUMS disk.blockmap.json disk.raw.zst manifest.json pxe"; got != want {
		t.Errorf("the image has %s, want %s", got, want)
	}
	a, err := os.Stat(filepath.Join(dir, "aa", images.DiskFile))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(filepath.Join(dir, "bb", images.DiskFile))
	if err != nil || !os.SameFile(a, b) {
		t.Errorf("the disk is there twice: %v", err)
	}
}

// Nothing is written through a link that leads out of the library.
func TestLinks(t *testing.T) {
	outside := t.TempDir()
	target := filepath.Join(outside, "target")
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, link, to, path string }{
		{"file", "aa/" + images.DiskFile + ".part", target, images.DiskFile},
		{"whole file", "aa/" + images.DiskFile, target, images.DiskFile},
		{"folder", "aa/pxe", outside, images.KernelFile},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, dir := open(t)
			have(t, l, manifest("aa"))
			if err := os.Symlink(tt.to, filepath.Join(dir, ".incoming", tt.link)); err != nil {
				t.Fatal(err)
			}
			if n, err := l.Append(context.Background(), "aa", tt.path, 0, strings.NewReader("x")); err == nil {
				t.Errorf("%d bytes were taken", n)
			}
			if err := l.Commit(context.Background(), "aa"); err == nil {
				t.Error("committed")
			}
		})
	}
	t.Run("upload", func(t *testing.T) {
		l, dir := open(t)
		if err := os.Symlink(outside, filepath.Join(dir, ".incoming", "aa")); err != nil {
			t.Fatal(err)
		}
		publish(t, l, manifest("aa")) // which replaces the link
	})
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside: %v, %v", entries, err)
	}
	if b, err := os.ReadFile(target); err != nil || len(b) != 0 {
		t.Errorf("outside: %q, %v", b, err)
	}
}

// Of two who publish the same, the slower one finds the image there.
func TestSlowerOfTwo(t *testing.T) {
	ctx := context.Background()
	l, _ := open(t)
	m := manifest("aa")
	have(t, l, m)
	content := bytesOf(images.DiskFile)
	size := int64(len(content))
	between := readerFunc(func(p []byte) (int, error) {
		publish(t, l, m)
		return copy(p, content), nil
	})
	offset := (*library.OffsetError)(nil)
	if _, err := l.Append(ctx, "aa", images.DiskFile, 0, between); !errors.As(err, &offset) || offset.Have != size {
		t.Errorf("in the middle: %v", err)
	}
	if _, err := l.Append(ctx, "aa", images.KernelFile, 0, strings.NewReader("x")); !errors.As(err, &offset) {
		t.Errorf("after the end: %v", err)
	}
	if n, err := l.Append(ctx, "aa", images.DiskFile, size, strings.NewReader("")); n != size || err != nil {
		t.Errorf("nothing more: %d, %v", n, err)
	}
	if err := l.Commit(ctx, "aa"); err != nil {
		t.Errorf("commit: %v", err)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// Another manifest of the same ID is another upload.
func TestOtherManifest(t *testing.T) {
	l, _ := open(t)
	first, second := manifest("aa"), manifest("aa")
	second.Artifacts[1] = artifact(images.DiskFile, []byte("other bytes"))
	have(t, l, first)
	if _, err := l.Append(context.Background(), "aa", images.DiskFile, 0, bytes.NewReader(bytesOf(images.DiskFile)[:500])); err != nil {
		t.Fatal(err)
	}
	if got := have(t, l, first)[images.DiskFile]; got != 500 {
		t.Errorf("the same manifest: %d bytes, want 500", got)
	}
	if got := have(t, l, second)[images.DiskFile]; got != 0 {
		t.Errorf("the other one: %d bytes, want 0", got)
	}
}

// A damaged image and a folder of somebody else's are in nobody's way.
func TestOtherFolders(t *testing.T) {
	l, dir := open(t)
	if err := os.Mkdir(filepath.Join(dir, "backup"), 0o700); err != nil {
		t.Fatal(err)
	}
	publish(t, l, manifest("aa"))
	all, err := l.Images()
	if err != nil || len(all) != 1 {
		t.Errorf("images: %+v, %v", all, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "aa", images.ManifestFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	publish(t, l, manifest("bb"))
	if _, err := l.Images(); err == nil || !strings.Contains(err.Error(), "aa/manifest.json") {
		t.Errorf("a damaged image is not named: %v", err)
	}
}

func TestManifestTooLarge(t *testing.T) {
	l, _ := open(t)
	want := "reading the manifest: 16777217 bytes, more than the 16777216 that one may have"
	if _, err := l.Begin(context.Background(), library.Offer{Manifest: make([]byte, images.MaxManifest+1)}); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// What nobody finishes is seen, and can be removed.
func TestUploads(t *testing.T) {
	ctx := context.Background()
	l, dir := open(t)
	publish(t, l, manifest("aa"))
	m := manifest("bb")
	m.Artifacts[1] = artifact(images.DiskFile, []byte("another disk"))
	have(t, l, m)
	if _, err := l.Append(ctx, "bb", images.DiskFile, 0, strings.NewReader("anot")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, ".incoming", "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	uploads, err := l.Uploads()
	if err != nil || len(uploads) != 1 || uploads[0].ID != "bb" {
		t.Fatalf("uploads: %+v, %v", uploads, err)
	}
	got := map[string]int64{}
	for _, f := range uploads[0].Files {
		got[f.Path] = f.Have
	}
	want := map[string]int64{
		images.DiskFile:     4,
		images.BlockMapFile: int64(len(bytesOf(images.BlockMapFile))),
		images.KernelFile:   int64(len(bytesOf(images.KernelFile))),
		images.InitrdFile:   int64(len(bytesOf(images.InitrdFile))),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := l.Remove(ctx, "bb"); err != nil {
		t.Fatal(err)
	}
	if uploads, err := l.Uploads(); err != nil || len(uploads) != 0 {
		t.Errorf("removed: %+v, %v", uploads, err)
	}
	for _, id := range []string{"bb", "", "..", "../aa"} {
		if err := l.Remove(ctx, id); !errors.Is(err, library.ErrUnknown) {
			t.Errorf("removing %q: %v", id, err)
		}
	}
	// What the linked files were linked to is still there.
	if _, err := os.Stat(filepath.Join(dir, "aa", images.KernelFile)); err != nil {
		t.Error(err)
	}
}

// The current image may have been removed by hand: the others can go all the
// same, and what a process left half removed goes when the library is opened.
func TestRemovedByHand(t *testing.T) {
	ctx := context.Background()
	l, dir := open(t)
	publish(t, l, manifest("aa"))
	publish(t, l, manifest("bb"))
	if err := l.Activate(ctx, "aa"); err != nil {
		t.Fatal(err)
	}
	rest := filepath.Join(dir, ".incoming", "aa.removed")
	if err := os.Rename(filepath.Join(dir, "aa"), rest); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Current(); !errors.Is(err, library.ErrUnknown) {
		t.Errorf("current: %v", err)
	}
	if err := l.Remove(ctx, "bb"); err != nil {
		t.Error(err)
	}
	if _, err := library.Open(dir, library.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(rest); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the rest: %v", err)
	}
}
