package publish_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/library"
	"github.com/k8snode/k8snode/provision/publish"
)

// bake writes an image with a disk of a few MiB.
func bake(t *testing.T, id string) string {
	t.Helper()
	dir := t.TempDir()
	m := images.Manifest{APIVersion: images.APIVersion, Kind: images.ManifestKind, ID: id}
	for _, path := range []string{images.RawFile, images.DiskFile, images.BlockMapFile, images.KernelFile, images.InitrdFile} {
		content := bytes.Repeat([]byte(path), 100)
		if path == images.DiskFile {
			content = bytes.Repeat([]byte("0123456789abcdef"), 256<<10)
		}
		write(t, filepath.Join(dir, filepath.FromSlash(path)), content)
		sum := sha256.Sum256(content)
		m.Artifacts = append(m.Artifacts, images.Artifact{Path: path, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])})
	}
	writeManifest(t, dir, m)
	return dir
}

func writeManifest(t *testing.T, dir string, m images.Manifest) {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, images.ManifestFile), b)
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// backend is a server's library.
type backend struct{ *library.Library }

func (b backend) Images(context.Context) ([]admin.Image, error) { return nil, nil }

// cutting is a listener whose connections break after some bytes.
type cutting struct {
	net.Listener
	after int64
	cuts  atomic.Int32
}

func (l *cutting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &cutConn{Conn: c, left: l.after, cuts: &l.cuts}, nil
}

type cutConn struct {
	net.Conn
	left int64
	cuts *atomic.Int32
}

func (c *cutConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		c.cuts.Add(1)
		c.Close()
		return 0, net.ErrClosed
	}
	n, err := c.Conn.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// serve serves a library on a socket whose connections break after some bytes.
func serve(t *testing.T, l *library.Library, after int64) (*admin.Client, *cutting) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "run", "admin.sock")
	inner, err := admin.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	cut := &cutting{Listener: inner, after: after}
	srv := &http.Server{Handler: admin.NewHandler(nil, backend{l}), ReadHeaderTimeout: time.Second}
	go srv.Serve(cut)
	t.Cleanup(func() { srv.Close() })
	return admin.NewClient(socket), cut
}

func newLibrary(t *testing.T) *library.Library {
	t.Helper()
	l, err := library.Open(filepath.Join(t.TempDir(), "images"), library.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// waits counts how often somebody had to wait.
type waits struct{ n int }

func (w *waits) wait(context.Context, int) error { w.n++; return nil }

func wantImage(t *testing.T, l *library.Library, id string) {
	t.Helper()
	current, err := l.Current()
	if err != nil {
		t.Fatal(err)
	}
	if current.Manifest.ID != id {
		t.Errorf("active: %s, want %s", current.Manifest.ID, id)
	}
	for _, a := range library.Needed(current.Manifest) {
		b, err := os.ReadFile(filepath.Join(current.Dir, filepath.FromSlash(a.Path)))
		sum := sha256.Sum256(b)
		if err != nil || hex.EncodeToString(sum[:]) != a.SHA256 {
			t.Errorf("%s: %v, %d bytes", a.Path, err, len(b))
		}
	}
}

// The same image goes to a folder and, over a line that breaks all the time, to
// a server.
func TestImage(t *testing.T) {
	ctx := context.Background()
	dir := bake(t, "aa")
	folder := newLibrary(t)
	if _, err := publish.Image(ctx, dir, folder, publish.Options{After: publish.Activate}); err != nil {
		t.Fatal(err)
	}
	wantImage(t, folder, "aa")

	l := newLibrary(t)
	client, cut := serve(t, l, 1<<20)
	var w waits
	var last, total int64
	o := publish.Options{After: publish.Activate, Wait: w.wait, Progress: func(done, all int64) { last, total = done, all }}
	m, err := publish.Image(ctx, dir, client, o)
	if err != nil || m.ID != "aa" {
		t.Fatalf("%s, %v", m.ID, err)
	}
	wantImage(t, l, "aa")
	if cut.cuts.Load() < 3 || w.n < 3 {
		t.Errorf("the line broke %d times, and there were %d waits: the test is none", cut.cuts.Load(), w.n)
	}
	if last != total || total == 0 {
		t.Errorf("progress ended at %d of %d", last, total)
	}
	// Once more, there is nothing to do.
	before := cut.cuts.Load()
	if _, err := publish.Image(ctx, dir, client, o); err != nil || cut.cuts.Load() != before {
		t.Errorf("again: %v, the line broke %d times more", err, cut.cuts.Load()-before)
	}
}

// What is wrong here is found here, and named.
func TestDamagedFile(t *testing.T) {
	dir := bake(t, "aa")
	disk := filepath.Join(dir, images.DiskFile)
	content, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)-1] ^= 1
	write(t, disk, content)
	for name, target := range map[string]publish.Target{"folder": newLibrary(t), "server": first(serve(t, newLibrary(t), 1<<40))} {
		_, err = publish.Image(context.Background(), dir, target, publish.Options{})
		local := (*publish.LocalFileError)(nil)
		if !errors.As(err, &local) || local.File != disk || !strings.Contains(err.Error(), "bake the image again") {
			t.Errorf("%s: %v", name, err)
		}
	}
	write(t, disk, content[:100])
	if _, err := publish.Image(context.Background(), dir, newLibrary(t), publish.Options{Wait: new(waits).wait}); err == nil {
		t.Error("a short file was published")
	}
}

func first[A, B any](a A, _ B) A { return a }

// A partial file that a power cut spoiled over there is sent again, whole.
func TestSpoiledThere(t *testing.T) {
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
	if _, err := publish.Image(ctx, dir, l, publish.Options{After: publish.Activate, Wait: new(waits).wait}); err != nil {
		t.Fatal(err)
	}
	wantImage(t, l, "aa")
}

func TestFails(t *testing.T) {
	ctx := context.Background()
	dir := bake(t, "aa")
	if _, err := publish.Image(ctx, t.TempDir(), newLibrary(t), publish.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no image: %v", err)
	}
	l := newLibrary(t)
	if _, err := publish.Image(ctx, dir, l, publish.Options{After: publish.Activate}); err != nil {
		t.Fatal(err)
	}
	current, err := l.Current()
	if err != nil {
		t.Fatal(err)
	}
	one, err := library.Single(current.Dir, library.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := publish.Image(ctx, bake(t, "bb"), first(serve(t, one, 1<<40)), publish.Options{}); !errors.Is(err, library.ErrSingle) {
		t.Errorf("a server of one image: %v", err)
	}
	// A line on which nothing ever arrives is given up.
	var w waits
	_, err = publish.Image(ctx, bake(t, "cc"), dead{newLibrary(t)}, publish.Options{Wait: w.wait, Attempts: 3})
	if err == nil || err.Error() != "the line is dead" {
		t.Errorf("over a dead line: %v", err)
	}
	if w.n != 3 {
		t.Errorf("%d waits, want 3", w.n)
	}
}
