package publish_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/library"
	"github.com/k8snode/k8snode/provision/publish"
)

// dead is a target at which nothing arrives.
type dead struct{ *library.Library }

func (dead) Append(context.Context, string, string, int64, io.Reader) (int64, error) {
	return 0, errors.New("the line is dead")
}

// A line that breaks far more often than sending may fail in a row is enough,
// as long as every attempt gets further.
func TestProgressIsNoFailure(t *testing.T) {
	l := newLibrary(t)
	client, _ := serve(t, l, 256<<10)
	var w waits
	if _, err := publish.Image(context.Background(), bake(t, "aa"), client, publish.Options{After: publish.Activate, Attempts: 2, Wait: w.wait}); err != nil {
		t.Fatal(err)
	}
	wantImage(t, l, "aa")
	if w.n < 10 {
		t.Errorf("%d waits: the test is none", w.n)
	}
}

// The manifest arrives as the bytes that it has, whatever way it goes.
func TestManifestBytes(t *testing.T) {
	ctx := context.Background()
	dir := bake(t, "aa")
	name := filepath.Join(dir, images.ManifestFile)
	compact, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	spaced := bytes.ReplaceAll(compact, []byte(`,"`), []byte(",\n  \""))
	write(t, name, spaced)
	l := newLibrary(t)
	client, _ := serve(t, l, 1<<40)
	for what, to := range map[string]publish.Target{"server": client, "folder": newLibrary(t)} {
		if _, err := publish.Image(ctx, dir, to, publish.Options{After: publish.Activate}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	current, err := l.Current()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(current.Dir, images.ManifestFile)); err != nil || !bytes.Equal(got, spaced) {
		t.Errorf("the manifest arrived as other bytes: %v\n%s", err, got)
	}
}

// What another publisher spoiled over there is sent again through a server,
// once; a target that spoils everything is given up.
func TestSpoiledByServer(t *testing.T) {
	ctx := context.Background()
	dir := bake(t, "aa")
	l := newLibrary(t)
	manifest, err := os.ReadFile(filepath.Join(dir, images.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Begin(ctx, library.Offer{Manifest: manifest}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(ctx, "aa", images.DiskFile, 0, bytes.NewReader(make([]byte, 1<<20))); err != nil {
		t.Fatal(err)
	}
	client, _ := serve(t, l, 1<<40)
	var w waits
	if _, err := publish.Image(ctx, dir, client, publish.Options{After: publish.Activate, Wait: w.wait}); err != nil || w.n != 1 {
		t.Fatalf("%v, %d waits", err, w.n)
	}
	wantImage(t, l, "aa")

	w.n = 0
	content := (*library.ContentError)(nil)
	if _, err := publish.Image(ctx, dir, spoiling{newLibrary(t)}, publish.Options{Wait: w.wait}); !errors.As(err, &content) || w.n != 1 {
		t.Errorf("a target that spoils: %v, %d waits", err, w.n)
	}
}

// spoiling is a target that changes the last byte of a read.
type spoiling struct{ *library.Library }

func (s spoiling) Append(ctx context.Context, id, path string, offset int64, content io.Reader) (int64, error) {
	b, err := io.ReadAll(content)
	if err != nil {
		return 0, err
	}
	b[len(b)-1] ^= 1
	return s.Library.Append(ctx, id, path, offset, bytes.NewReader(b))
}

// A local file of another size is named like one with other bytes, and not
// tried again.
func TestOtherSize(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"shorter": func(b []byte) []byte { return b[:len(b)-1] },
		"longer":  func(b []byte) []byte { return append(b, 'x') },
		"empty":   func([]byte) []byte { return nil },
	} {
		for _, resumed := range []int64{0, 1 << 20} {
			dir := bake(t, "aa")
			disk := filepath.Join(dir, images.DiskFile)
			b, err := os.ReadFile(disk)
			if err != nil {
				t.Fatal(err)
			}
			manifest, err := os.ReadFile(filepath.Join(dir, images.ManifestFile))
			if err != nil {
				t.Fatal(err)
			}
			l := newLibrary(t)
			if _, err := l.Begin(context.Background(), library.Offer{Manifest: manifest}); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Append(context.Background(), "aa", images.DiskFile, 0, bytes.NewReader(b[:resumed])); err != nil {
				t.Fatal(err)
			}
			write(t, disk, change(b))
			client, _ := serve(t, l, 1<<40)
			var w waits
			_, err = publish.Image(context.Background(), dir, client, publish.Options{Wait: w.wait})
			local := (*publish.LocalFileError)(nil)
			if !errors.As(err, &local) || local.File != disk || w.n != 0 {
				t.Errorf("%s, resumed at %d: %v, %d waits", name, resumed, err, w.n)
			}
			if _, err := l.Image("aa"); !errors.Is(err, library.ErrUnknown) {
				t.Errorf("%s: it appeared: %v", name, err)
			}
		}
	}
}

// Names that mean something in a URL are names.
func TestPathsOfURLs(t *testing.T) {
	dir := bake(t, "aa")
	m, err := images.OpenManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := m.Artifact(images.KernelFile)
	const odd = "pxe/a b%2F?#+"
	kernel, err := os.ReadFile(filepath.Join(dir, images.KernelFile))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, odd), kernel)
	a.Path = odd
	m.Artifacts = append(m.Artifacts, a)
	writeManifest(t, dir, m)
	l := newLibrary(t)
	client, _ := serve(t, l, 1<<40)
	if _, err := publish.Image(context.Background(), dir, client, publish.Options{After: publish.Activate, Wait: new(waits).wait, Attempts: 1}); err != nil {
		t.Fatal(err)
	}
	wantImage(t, l, "aa")
}
