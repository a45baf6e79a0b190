package library_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/library"
)

// bytesOf is the content of a file of a test's image.
func bytesOf(path string) []byte { return bytes.Repeat([]byte(path+"\n"), 1000) }

func artifact(path string, content []byte) images.Artifact {
	sum := sha256.Sum256(content)
	return images.Artifact{Path: path, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])}
}

// manifest is of an image with a raw disk, which nobody publishes.
func manifest(id string) images.Manifest {
	m := images.Manifest{APIVersion: images.APIVersion, Kind: images.ManifestKind, ID: id, Name: "node"}
	for _, path := range []string{images.RawFile, images.DiskFile, images.BlockMapFile, images.KernelFile, images.InitrdFile} {
		m.Artifacts = append(m.Artifacts, artifact(path, bytesOf(path)))
	}
	return m
}

func text(t *testing.T, m images.Manifest) []byte {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func open(t *testing.T) (*library.Library, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "images")
	l, err := library.Open(dir, library.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l, dir
}

// have returns how much of each file there is.
func have(t *testing.T, l *library.Library, m images.Manifest) map[string]int64 {
	t.Helper()
	u, err := l.Begin(context.Background(), library.Offer{Manifest: text(t, m)})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int64{}
	for _, f := range u.Files {
		all[f.Path] = f.Have
	}
	return all
}

// publish sends everything that is missing.
func publish(t *testing.T, l *library.Library, m images.Manifest) {
	t.Helper()
	for path, at := range have(t, l, m) {
		a, _ := m.Artifact(path)
		if at == a.Size {
			continue
		}
		if _, err := l.Append(context.Background(), m.ID, path, at, bytes.NewReader(bytesOf(path)[at:])); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Commit(context.Background(), m.ID); err != nil {
		t.Fatal(err)
	}
}

func TestPublish(t *testing.T) {
	ctx := context.Background()
	l, dir := open(t)
	m := manifest("aa")
	if _, err := l.Current(); !errors.Is(err, library.ErrNoCurrent) {
		t.Errorf("current: %v", err)
	}
	publish(t, l, m)
	if err := l.Commit(ctx, "aa"); err != nil {
		t.Errorf("committed again: %v", err)
	}
	if u, err := l.Begin(ctx, library.Offer{Manifest: text(t, m)}); err != nil || !u.Complete || len(u.Files) != 0 {
		t.Errorf("begun again: %+v, %v", u, err)
	}
	if err := l.Activate(ctx, "bb"); !errors.Is(err, library.ErrUnknown) {
		t.Errorf("activating what is not there: %v", err)
	}
	if err := l.Activate(ctx, "aa"); err != nil {
		t.Fatal(err)
	}
	// Another process sees the same.
	again, err := library.Open(dir, library.Options{})
	if err != nil {
		t.Fatal(err)
	}
	current, err := again.Current()
	if err != nil || current.Manifest.ID != "aa" {
		t.Errorf("current: %+v, %v", current, err)
	}
	if _, err := os.Stat(filepath.Join(current.Dir, images.RawFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the raw disk: %v", err)
	}
	sums, err := os.ReadFile(filepath.Join(current.Dir, images.SumsFile))
	if err != nil || strings.Count(string(sums), "\n") != 5 || strings.Contains(string(sums), "  "+images.RawFile+"\n") {
		t.Errorf("sums: %v\n%s", err, sums)
	}
	if err := l.Remove(ctx, "aa"); !errors.Is(err, library.ErrCurrent) {
		t.Errorf("removing the current image: %v", err)
	}
	publish(t, l, manifest("bb"))
	if err := l.Activate(ctx, "bb"); err != nil {
		t.Fatal(err)
	}
	if err := l.Remove(ctx, "aa"); err != nil {
		t.Fatal(err)
	}
	all, err := l.Images()
	if err != nil || len(all) != 1 || all[0].Manifest.ID != "bb" {
		t.Errorf("images: %+v, %v", all, err)
	}
}

// Bytes of another image are not sent again.
func TestKnownBytes(t *testing.T) {
	l, dir := open(t)
	publish(t, l, manifest("aa"))
	second := manifest("bb")
	second.Artifacts[3] = artifact(images.KernelFile, []byte("another kernel"))
	want := map[string]int64{images.KernelFile: 0}
	for _, path := range []string{images.DiskFile, images.BlockMapFile, images.InitrdFile} {
		want[path] = int64(len(bytesOf(path)))
	}
	if diff := cmp.Diff(want, have(t, l, second)); diff != "" {
		t.Error(diff)
	}
	// Known bytes that have rotted are none.
	if err := os.WriteFile(filepath.Join(dir, "aa", images.DiskFile), []byte("rot"), 0o600); err != nil {
		t.Fatal(err)
	}
	third := manifest("cc")
	if got := have(t, l, third)[images.DiskFile]; got != 0 {
		t.Errorf("rotten bytes were taken: %d", got)
	}
}

func TestResume(t *testing.T) {
	ctx := context.Background()
	l, dir := open(t)
	m := manifest("aa")
	have(t, l, m)
	content := bytesOf(images.DiskFile)
	broken := errors.New("the line is cut")
	n, err := l.Append(ctx, "aa", images.DiskFile, 0, io.MultiReader(bytes.NewReader(content[:700]), iotest.ErrReader(broken)))
	if n != 700 || !errors.Is(err, broken) {
		t.Fatalf("cut: %d, %v", n, err)
	}
	again, err := library.Open(dir, library.Options{}) // after a restart
	if err != nil {
		t.Fatal(err)
	}
	if got := have(t, again, m)[images.DiskFile]; got != 700 {
		t.Errorf("after a restart: %d bytes, want 700", got)
	}
	for _, at := range []int64{0, 699, 701} {
		offset := (*library.OffsetError)(nil)
		if _, err := again.Append(ctx, "aa", images.DiskFile, at, bytes.NewReader(content[at:])); !errors.As(err, &offset) || offset.Have != 700 {
			t.Errorf("at %d: %v", at, err)
		}
	}
	if err := again.Commit(ctx, "aa"); err == nil || err.Error() != `publishing image "aa": disk.raw.zst is not complete` {
		t.Errorf("commit: %v", err)
	}
	if n, err := again.Append(ctx, "aa", images.DiskFile, 700, bytes.NewReader(content[700:])); n != int64(len(content)) || err != nil {
		t.Errorf("the rest: %d, %v", n, err)
	}
	publish(t, again, m)
}

func TestWrongBytes(t *testing.T) {
	ctx := context.Background()
	l, _ := open(t)
	m := manifest("aa")
	have(t, l, m)
	content := bytesOf(images.DiskFile)
	bad := bytes.ToUpper(content)
	wrong := (*library.ContentError)(nil)
	if _, err := l.Append(ctx, "aa", images.DiskFile, 0, bytes.NewReader(bad)); !errors.As(err, &wrong) || wrong.Path != images.DiskFile {
		t.Errorf("other bytes: %v", err)
	}
	if got := have(t, l, m)[images.DiskFile]; got != 0 {
		t.Errorf("wrong bytes were kept: %d", got)
	}
	if _, err := l.Append(ctx, "aa", images.DiskFile, 0, bytes.NewReader(append(content, 'x'))); err == nil || !strings.Contains(err.Error(), "more bytes than the") {
		t.Errorf("too many: %v", err)
	}
	if err := l.Commit(ctx, "aa"); err == nil {
		t.Error("committed without its disk")
	}
	publish(t, l, m)
}

func TestRefused(t *testing.T) {
	ctx := context.Background()
	l, dir := open(t)
	for _, tt := range []struct {
		name   string
		change func(*images.Manifest)
		want   string
	}{
		{"ID", func(m *images.Manifest) { m.ID = "../b" }, `image ID "../b": not a plain name`},
		{"no kernel", func(m *images.Manifest) { m.Artifacts[3].Path = "pxe/other" }, `image "aa" has no pxe/vmlinuz`},
		{"outside", func(m *images.Manifest) { m.Artifacts[0].Path = "../x" }, `artifact "../x": not a path below the image's folder`},
		{"absolute", func(m *images.Manifest) { m.Artifacts[0].Path = "/x" }, `artifact "/x": not a path below the image's folder`},
		{"the manifest itself", func(m *images.Manifest) { m.Artifacts[0].Path = "manifest.json" }, `artifact "manifest.json": not a path below the image's folder`},
		{"the signature", func(m *images.Manifest) { m.Artifacts[0].Path = "manifest.json.minisig" }, `artifact "manifest.json.minisig": not a path below the image's folder`},
		{"digest", func(m *images.Manifest) { m.Artifacts[0].SHA256 = "AA" }, `artifact "disk.raw": "AA" is not a digest`},
		{"size", func(m *images.Manifest) { m.Artifacts[0].Size = -1 }, `artifact "disk.raw": a size of -1 bytes`},
		{"kind", func(m *images.Manifest) { m.Kind = "Cluster" }, "reading the manifest: not the manifest of an image of k8snode.io/v1alpha1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := manifest("aa")
			tt.change(&m)
			if _, err := l.Begin(ctx, library.Offer{Manifest: text(t, m)}); err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
	have(t, l, manifest("aa"))
	for _, path := range []string{"", "..", "../aa/manifest.json", "manifest.json", images.RawFile, "/etc/passwd"} {
		if _, err := l.Append(ctx, "aa", path, 0, strings.NewReader("x")); err == nil {
			t.Errorf("%q was written", path)
		}
	}
	for _, id := range []string{"", "..", "../aa", "bb", ".incoming"} {
		if _, err := l.Append(ctx, id, images.DiskFile, 0, strings.NewReader("x")); !errors.Is(err, library.ErrUnknown) {
			t.Errorf("append to %q: %v", id, err)
		}
		if _, err := l.Image(id); !errors.Is(err, library.ErrUnknown) {
			t.Errorf("image %q: %v", id, err)
		}
	}
	// An image is no library.
	publish(t, l, manifest("aa"))
	if _, err := library.Open(filepath.Join(dir, "aa"), library.Options{}); err == nil || !strings.Contains(err.Error(), "is an image itself") {
		t.Errorf("an image as a library: %v", err)
	}
	one, err := library.Single(filepath.Join(dir, "aa"), library.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Begin(ctx, library.Offer{Manifest: text(t, manifest("bb"))}); !errors.Is(err, library.ErrSingle) {
		t.Errorf("publishing to one image: %v", err)
	}
	if current, err := one.Current(); err != nil || current.Manifest.ID != "aa" {
		t.Errorf("one image: %+v, %v", current, err)
	}
}

// Two who send the same at once do not spoil it.
func TestTwoAtOnce(t *testing.T) {
	l, _ := open(t)
	m := manifest("aa")
	have(t, l, m)
	content := bytesOf(images.DiskFile)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			_, err := l.Append(context.Background(), "aa", images.DiskFile, 0, iotest.OneByteReader(bytes.NewReader(content)))
			offset := (*library.OffsetError)(nil)
			if err != nil && !errors.As(err, &offset) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	publish(t, l, m)
}

func FuzzBegin(f *testing.F) {
	b, err := json.Marshal(manifest("aa"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"apiVersion":"k8snode.io/v1alpha1","kind":"ImageManifest","id":"a","artifacts":[{"path":"a/../../b"}]}`))
	f.Fuzz(func(t *testing.T, manifest []byte) {
		dir := t.TempDir()
		l, err := library.Open(filepath.Join(dir, "library"), library.Options{})
		if err != nil {
			t.Fatal(err)
		}
		u, err := l.Begin(context.Background(), library.Offer{Manifest: manifest})
		if err != nil {
			return
		}
		for _, file := range u.Files {
			_, _ = l.Append(context.Background(), u.ID, file.Path, 0, strings.NewReader("x"))
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Errorf("written outside of the library: %v, %v", entries, err)
		}
	})
}
