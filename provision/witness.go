package provision

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/k8snode/k8snode/images"
)

// A witness has seen files of images with the digests of their manifests. A file
// that is replaced or written to while it is served is read again before a byte of
// it is served under the digest: kernel and initramfs are checked by nobody else.
type witness struct {
	mu sync.Mutex
	// files are those that were asked for, by path.
	files map[string]*witnessed
}

// witnessed is what a file was when it had its digest. Its lock is held while the
// file is read, so that a thousand machines that ask at once cost one reading.
type witnessed struct {
	mu sync.Mutex
	as identity
	// wrong is what was found then, nil when the digest was right.
	wrong error
}

// identity changes with every change of a file.
type identity struct {
	device, inode  uint64
	size           int64
	changed, wrote syscall.Timespec
}

// check says what is wrong with an open file of an image, which is at path.
func (w *witness) check(f *os.File, path string, a images.Artifact) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != a.Size || !info.Mode().IsRegular() {
		return fmt.Errorf("it is not the file of the manifest: %d bytes, mode %v", info.Size(), info.Mode())
	}
	now, ok := identify(info)
	if !ok {
		return fmt.Errorf("internal error: no identity of %s", path)
	}
	seen := w.of(path)
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if seen.as == now {
		return seen.wrong
	}
	h := sha256.New()
	// Not by f's own position, which is the answer's.
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, info.Size())); err != nil {
		return err
	}
	// Whoever wrote while it was read is seen by the next request.
	seen.as, seen.wrong = now, nil
	if got := hex.EncodeToString(h.Sum(nil)); got != a.SHA256 {
		seen.wrong = fmt.Errorf("%s was changed after the bake: its digest is %s, and the manifest says %s; bake or publish the image again", path, got, a.SHA256)
	}
	return seen.wrong
}

func (w *witness) of(path string) *witnessed {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files == nil {
		w.files = map[string]*witnessed{}
	}
	if w.files[path] == nil {
		w.files[path] = &witnessed{}
	}
	return w.files[path]
}

func identify(info fs.FileInfo) (identity, bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, false
	}
	return identity{s.Dev, s.Ino, s.Size, s.Ctim, s.Mtim}, true
}
