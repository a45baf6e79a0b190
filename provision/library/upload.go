package library

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/images/signature"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

// An Offer is an image that somebody wants to publish.
type Offer struct {
	// Manifest is the text of its manifest.
	Manifest []byte
	// Signature is one of Manifest, as package signature makes them; nil for
	// none.
	Signature []byte
}

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

// Begin begins to publish an image, or goes on with it. An image that is there
// gets the signature, if there is one in the offer.
func (l *Library) Begin(_ context.Context, o Offer) (Upload, error) {
	if l.single != "" {
		return Upload{}, ErrSingle
	}
	m, err := l.admit(o)
	if err != nil {
		return Upload{}, err
	}
	defer l.lock(m.ID)()
	if one, err := l.Image(m.ID); err == nil {
		if err := l.sign(one, o); err != nil {
			return Upload{}, fmt.Errorf("signing image %q: %w", m.ID, err)
		}
		return Upload{ID: m.ID, Complete: true}, nil
	} else if !errors.Is(err, ErrUnknown) {
		return Upload{}, err
	}
	upload := Upload{ID: m.ID}
	if upload.Files, err = l.begin(m, o); err != nil {
		return Upload{}, fmt.Errorf("publishing image %q: %w", m.ID, err)
	}
	return upload, nil
}

// admit reads the manifest of an offer that may be published.
func (l *Library) admit(o Offer) (images.Manifest, error) {
	if len(o.Manifest) > images.MaxManifest {
		return images.Manifest{}, fmt.Errorf("reading the manifest: %d bytes, more than the %d that one may have", len(o.Manifest), images.MaxManifest)
	}
	m, err := images.ParseManifest("the manifest", o.Manifest)
	if err != nil {
		return images.Manifest{}, err
	}
	if err := Check(m); err != nil {
		return images.Manifest{}, err
	}
	if len(o.Signature) > 0 {
		if _, err := signature.Read(o.Signature); err != nil {
			return images.Manifest{}, fmt.Errorf("reading the signature of image %q: %w", m.ID, err)
		}
	}
	return m, l.trusted(m.ID, o)
}

// begin makes the folder of an upload, and says what is in it.
func (l *Library) begin(m images.Manifest, o Offer) ([]File, error) {
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	dir := filepath.Join(incomingDir, m.ID)
	known, err := root.ReadFile(filepath.Join(dir, images.ManifestFile))
	if err != nil || !bytes.Equal(known, o.Manifest) {
		// What is there belongs to other bytes under the same ID, or to none. The
		// manifest is written once: the upload is nothing without it.
		if err := root.RemoveAll(dir); err != nil {
			return nil, err
		}
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if err := atomicfile.Write(filepath.Join(l.dir, dir, images.ManifestFile), o.Manifest, 0o644); err != nil {
			return nil, err
		}
	}
	if len(o.Signature) > 0 {
		if err := atomicfile.Write(filepath.Join(l.dir, dir, images.SignatureFile), o.Signature, 0o644); err != nil {
			return nil, err
		}
	}
	elsewhere, err := l.bySum()
	if err != nil {
		return nil, err
	}
	var files []File
	for _, a := range Needed(m) {
		p := part{root: root, Artifact: a, name: filepath.Join(dir, filepath.FromSlash(a.Path))}
		have, err := p.have(elsewhere[a.SHA256])
		if err != nil {
			return nil, err
		}
		files = append(files, File{Artifact: a, Have: have})
	}
	return files, nil
}

// bySum returns, for each digest, the file below the library that has it. An
// image that cannot be read has none: its bytes are sent again.
func (l *Library) bySum() (map[string]string, error) {
	known := map[string]string{}
	ids, err := folders(l.dir)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		one, err := l.Image(id)
		if err != nil {
			continue
		}
		for _, a := range Needed(one.Manifest) {
			known[a.SHA256] = filepath.Join(id, filepath.FromSlash(a.Path))
		}
	}
	return known, nil
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
		n, readErr := fill(content, buf)
		if n > 0 {
			if offset, err = l.write(id, a, offset, buf[:n]); err != nil {
				return offset, err
			}
		}
		switch {
		case errors.Is(readErr, io.EOF):
			return offset, nil
		case readErr != nil:
			return offset, fmt.Errorf("publishing %s: %w", name, readErr)
		}
	}
}

// fill reads until buf is full or content ends: what comes out of a connection
// comes in crumbs, and each write costs.
func fill(content io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var more int
		more, err = content.Read(buf[n:])
		n += more
	}
	return n, err
}

// expected returns the artifact of an upload that a name means. It may be that
// of an image: of two who publish the same, one is done first.
func (l *Library) expected(id, name string) (images.Artifact, error) {
	m, err := l.uploading(id)
	if errors.Is(err, ErrUnknown) {
		if one, imageErr := l.Image(id); imageErr == nil {
			m, err = one.Manifest, nil
		}
	}
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
	m, err := images.OpenManifest(filepath.Join(l.dir, incomingDir, id))
	if errors.Is(err, os.ErrNotExist) {
		return images.Manifest{}, fmt.Errorf("publishing image %q: %w: begin with its manifest", id, ErrUnknown)
	}
	return m, err
}

// Uploads returns what is being published, sorted by ID: also what nobody has
// sent anything of for long.
func (l *Library) Uploads() ([]Upload, error) {
	if l.single != "" {
		return nil, nil
	}
	ids, err := folders(filepath.Join(l.dir, incomingDir))
	if err != nil {
		return nil, fmt.Errorf("reading the library of images: %w", err)
	}
	var all []Upload
	for _, id := range ids {
		m, err := l.uploading(id)
		if err != nil {
			continue // it begins or ends right now, or never did
		}
		u := Upload{ID: id}
		for _, a := range Needed(m) {
			f := File{Artifact: a}
			name := filepath.Join(l.dir, incomingDir, id, filepath.FromSlash(a.Path))
			for _, n := range []string{name, name + partSuffix} {
				if info, err := os.Lstat(n); err == nil {
					f.Have = info.Size()
					break
				}
			}
			u.Files = append(u.Files, f)
		}
		all = append(all, u)
	}
	return all, nil
}

// write adds bytes at the end of a file, and checks the file that is whole.
func (l *Library) write(id string, a images.Artifact, offset int64, b []byte) (int64, error) {
	defer l.lock(id)()
	if _, err := l.Image(id); err == nil {
		if offset == a.Size && len(b) == 0 {
			return a.Size, nil
		}
		return a.Size, &OffsetError{Path: a.Path, Have: a.Size}
	}
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		return 0, fmt.Errorf("publishing %s: %w", a.Path, err)
	}
	defer root.Close()
	p := part{root: root, Artifact: a, name: filepath.Join(incomingDir, id, filepath.FromSlash(a.Path))}
	have, err := p.append(offset, b)
	if offset := (*OffsetError)(nil); err == nil || errors.As(err, &offset) {
		return have, err
	}
	return have, fmt.Errorf("publishing %s: %w", a.Path, err)
}

// Commit lets the image appear. To commit one that is there is no error.
func (l *Library) Commit(_ context.Context, id string) error {
	defer l.lock(id)()
	if _, err := l.Image(id); err == nil {
		return nil
	}
	m, err := l.uploading(id)
	if err != nil {
		return err
	}
	// The keys may be others than those of Begin.
	if err := l.trustedUpload(id); err != nil {
		return err
	}
	if err := l.commit(m); err != nil {
		return fmt.Errorf("publishing image %q: %w", id, err)
	}
	return nil
}

func (l *Library) trustedUpload(id string) error {
	dir := filepath.Join(l.dir, incomingDir, id)
	_, text, err := images.ReadManifest(dir)
	if err != nil {
		return err
	}
	sig, err := images.OpenSignature(dir)
	if err != nil {
		return err
	}
	return l.trusted(id, Offer{Manifest: text, Signature: sig})
}

func (l *Library) commit(m images.Manifest) error {
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	dir := filepath.Join(incomingDir, m.ID)
	var sums bytes.Buffer
	for _, a := range Needed(m) {
		// Only what has the digest ever got this name.
		info, err := root.Lstat(filepath.Join(dir, filepath.FromSlash(a.Path)))
		if err != nil || !info.Mode().IsRegular() || info.Size() != a.Size {
			return fmt.Errorf("%s is not complete", a.Path)
		}
		fmt.Fprintf(&sums, "%s  %s\n", a.SHA256, a.Path)
	}
	sum, err := sumFile(root, filepath.Join(dir, images.ManifestFile))
	if err != nil {
		return err
	}
	fmt.Fprintf(&sums, "%s  %s\n", sum, images.ManifestFile)
	if err := atomicfile.Write(filepath.Join(l.dir, dir, images.SumsFile), sums.Bytes(), 0o644); err != nil {
		return err
	}
	// The names inside are on the disk before the image has its own.
	if err := syncFolders(root, dir, m); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := root.Rename(dir, m.ID); err != nil {
		return err
	}
	return syncFolder(root, ".")
}
