package library

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/k8snode/k8snode/images"
)

// MaxManifest bounds a manifest in bytes.
const MaxManifest = 64 << 20

// partSuffix ends the name of a file whose content is not known to be right.
const partSuffix = ".part"

// An Upload says how far the publishing of an image is.
type Upload struct {
	ID string `json:"id"`
	// Complete says that the image is in the library: there is nothing to do.
	Complete bool `json:"complete"`
	// Files are those that the image needs.
	Files []File `json:"files,omitempty"`
}

// A File is one file of an image that is being published.
type File struct {
	images.Artifact
	// Have is how many bytes of it are there, from its beginning.
	Have int64 `json:"have"`
}

// An OffsetError says that bytes were sent for another place than the end.
type OffsetError struct {
	Path string
	// Have is how many bytes are there.
	Have int64
}

func (e *OffsetError) Error() string {
	return fmt.Sprintf("%s has %d bytes here: go on from there", e.Path, e.Have)
}

// A ContentError says that a file that arrived whole is not the manifest's. It
// is gone.
type ContentError struct{ Path, Want, Got string }

func (e *ContentError) Error() string {
	return fmt.Sprintf("%s has the digest %s, and the manifest says %s: it was changed after the bake, or on its way", e.Path, e.Got, e.Want)
}

// Needed are the files that an image has in a library: all of its artifacts but
// the raw disk, whose bytes are those of the compressed one.
func Needed(m images.Manifest) []images.Artifact {
	needed := make([]images.Artifact, 0, len(m.Artifacts))
	_, compressed := m.Artifact(images.DiskFile)
	for _, a := range m.Artifacts {
		if a.Path != images.RawFile || !compressed {
			needed = append(needed, a)
		}
	}
	return needed
}

// Begin begins to publish an image, or goes on with it.
func (l *Library) Begin(_ context.Context, manifest []byte) (Upload, error) {
	if l.single != "" {
		return Upload{}, ErrSingle
	}
	m, err := images.ParseManifest("the manifest", manifest)
	if err != nil {
		return Upload{}, err
	}
	if err := Check(m); err != nil {
		return Upload{}, err
	}
	l.uploads.Lock()
	defer l.uploads.Unlock()
	if _, err := l.Image(m.ID); err == nil {
		return Upload{ID: m.ID, Complete: true}, nil
	} else if !errors.Is(err, ErrUnknown) {
		return Upload{}, err
	}
	dir := l.incoming(m.ID)
	name := filepath.Join(dir, images.ManifestFile)
	if known, err := os.ReadFile(name); err == nil && !bytes.Equal(known, manifest) {
		// What is there belongs to other bytes under the same ID.
		if err := os.RemoveAll(dir); err != nil {
			return Upload{}, fmt.Errorf("publishing image %q: %w", m.ID, err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Upload{}, fmt.Errorf("publishing image %q: %w", m.ID, err)
	}
	if err := os.WriteFile(name, manifest, 0o644); err != nil {
		return Upload{}, fmt.Errorf("publishing image %q: %w", m.ID, err)
	}
	upload := Upload{ID: m.ID}
	known, err := l.bySum()
	if err != nil {
		return Upload{}, err
	}
	for _, a := range Needed(m) {
		f := File{Artifact: a}
		if f.Have, err = l.have(dir, a, known[a.SHA256]); err != nil {
			return Upload{}, fmt.Errorf("publishing image %q: %w", m.ID, err)
		}
		upload.Files = append(upload.Files, f)
	}
	return upload, nil
}

func (l *Library) incoming(id string) string { return filepath.Join(l.dir, incomingDir, id) }

// bySum returns a file of the library for each digest.
func (l *Library) bySum() (map[string]string, error) {
	all, err := l.Images()
	if err != nil {
		return nil, err
	}
	known := map[string]string{}
	for _, one := range all {
		for _, a := range Needed(one.Manifest) {
			known[a.SHA256] = filepath.Join(one.Dir, filepath.FromSlash(a.Path))
		}
	}
	return known, nil
}

// have returns how much of a file is there. One that another image has becomes
// a link to it, after it was read and found right.
func (l *Library) have(dir string, a images.Artifact, known string) (int64, error) {
	name := filepath.Join(dir, filepath.FromSlash(a.Path))
	if st, err := os.Stat(name); err == nil {
		return st.Size(), nil
	}
	if known != "" {
		if sum, err := sumFile(known); err == nil && sum == a.SHA256 {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				return 0, err
			}
			return a.Size, os.Link(known, name)
		}
	}
	st, err := os.Stat(name + partSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// chunk is how much is read at most before it is written.
const chunk = 1 << 20

// Append adds bytes to a file, from the given offset to the end of content, and
// returns how many the file has then. What was read before an error is kept.
func (l *Library) Append(ctx context.Context, id, name string, offset int64, content io.Reader) (int64, error) {
	a, err := l.expected(id, name)
	if err != nil {
		return 0, err
	}
	// Before anything is read: who sends for another place shall not send.
	if offset, err = l.write(id, a, offset, nil); err != nil {
		return offset, err
	}
	buf := make([]byte, chunk)
	for {
		if err := ctx.Err(); err != nil {
			return offset, fmt.Errorf("publishing %s: %w", name, context.Cause(ctx))
		}
		n, readErr := content.Read(buf)
		ended := errors.Is(readErr, io.EOF)
		if n > 0 || ended {
			if offset, err = l.write(id, a, offset, buf[:n]); err != nil {
				return offset, err
			}
		}
		switch {
		case ended:
			return offset, nil
		case readErr != nil:
			return offset, fmt.Errorf("publishing %s: %w", name, readErr)
		}
	}
}

// expected returns the artifact of an upload that a name means.
func (l *Library) expected(id, name string) (images.Artifact, error) {
	m, err := l.uploading(id)
	if err != nil {
		return images.Artifact{}, err
	}
	for _, a := range Needed(m) {
		if a.Path == name {
			return a, nil
		}
	}
	return images.Artifact{}, fmt.Errorf("publishing image %q: its manifest has no file %q", id, name)
}

// uploading returns the manifest of an upload.
func (l *Library) uploading(id string) (images.Manifest, error) {
	if l.single != "" {
		return images.Manifest{}, ErrSingle
	}
	if !idRE.MatchString(id) {
		return images.Manifest{}, fmt.Errorf("publishing image %q: %w", id, ErrUnknown)
	}
	m, err := images.OpenManifest(l.incoming(id))
	if errors.Is(err, fs.ErrNotExist) {
		return images.Manifest{}, fmt.Errorf("publishing image %q: %w: begin with its manifest", id, ErrUnknown)
	}
	return m, err
}

// write adds bytes at the end of a file, and checks the file that is whole.
func (l *Library) write(id string, a images.Artifact, offset int64, b []byte) (int64, error) {
	l.uploads.Lock()
	defer l.uploads.Unlock()
	name := filepath.Join(l.incoming(id), filepath.FromSlash(a.Path))
	if _, err := os.Stat(name); err == nil {
		if offset == a.Size && len(b) == 0 {
			return a.Size, nil
		}
		return a.Size, &OffsetError{Path: a.Path, Have: a.Size}
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return 0, fmt.Errorf("publishing %s: %w", a.Path, err)
	}
	f, err := os.OpenFile(name+partSuffix, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return 0, fmt.Errorf("publishing %s: %w", a.Path, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("publishing %s: %w", a.Path, err)
	}
	if st.Size() != offset {
		return st.Size(), &OffsetError{Path: a.Path, Have: st.Size()}
	}
	if offset+int64(len(b)) > a.Size {
		return offset, fmt.Errorf("publishing %s: more bytes than the %d of the manifest", a.Path, a.Size)
	}
	n, err := f.Write(b)
	if offset += int64(n); err != nil {
		return offset, fmt.Errorf("publishing %s: %w", a.Path, err)
	}
	if offset < a.Size {
		return offset, nil
	}
	return a.Size, finish(f, name, a)
}

// finish gives a whole file its name, if it has the digest.
func finish(f *os.File, name string, a images.Artifact) error {
	if err := f.Sync(); err != nil {
		return fmt.Errorf("publishing %s: %w", a.Path, err)
	}
	sum, err := sumFile(name + partSuffix)
	if err != nil {
		return fmt.Errorf("publishing %s: %w", a.Path, err)
	}
	if sum != a.SHA256 {
		if err := os.Remove(name + partSuffix); err != nil {
			return fmt.Errorf("publishing %s: %w", a.Path, err)
		}
		return &ContentError{Path: a.Path, Want: a.SHA256, Got: sum}
	}
	if err := os.Rename(name+partSuffix, name); err != nil {
		return fmt.Errorf("publishing %s: %w", a.Path, err)
	}
	return nil
}

// Commit lets the image appear. To commit one that is there is no error.
func (l *Library) Commit(_ context.Context, id string) error {
	l.uploads.Lock()
	defer l.uploads.Unlock()
	if _, err := l.Image(id); err == nil {
		return nil
	}
	m, err := l.uploading(id)
	if err != nil {
		return err
	}
	dir := l.incoming(id)
	var sums bytes.Buffer
	for _, a := range Needed(m) {
		st, err := os.Stat(filepath.Join(dir, filepath.FromSlash(a.Path)))
		if err != nil || st.Size() != a.Size {
			return fmt.Errorf("publishing image %q: %s is not complete", id, a.Path)
		}
		fmt.Fprintf(&sums, "%s  %s\n", a.SHA256, a.Path)
	}
	sum, err := sumFile(filepath.Join(dir, images.ManifestFile))
	if err != nil {
		return fmt.Errorf("publishing image %q: %w", id, err)
	}
	fmt.Fprintf(&sums, "%s  %s\n", sum, images.ManifestFile)
	if err := os.WriteFile(filepath.Join(dir, images.SumsFile), sums.Bytes(), 0o644); err != nil {
		return fmt.Errorf("publishing image %q: %w", id, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := os.Rename(dir, filepath.Join(l.dir, id)); err != nil {
		return fmt.Errorf("publishing image %q: %w", id, err)
	}
	return syncDirs(filepath.Join(l.dir, id), m, l.dir)
}

// syncDirs makes names survive a power cut.
func syncDirs(dir string, m images.Manifest, parent string) error {
	dirs := map[string]bool{dir: true, parent: true}
	for _, a := range Needed(m) {
		dirs[filepath.Join(dir, filepath.FromSlash(path.Dir(a.Path)))] = true
	}
	for d := range dirs {
		f, err := os.Open(d)
		if err != nil {
			return fmt.Errorf("publishing image %q: %w", m.ID, err)
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return fmt.Errorf("publishing image %q: %w", m.ID, err)
		}
	}
	return nil
}

func sumFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
