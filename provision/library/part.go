package library

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/k8snode/k8snode/images"
)

// partSuffix ends the name of a file whose content is not known to be right.
const partSuffix = ".part"

// A part is a file that is being published. It has its name once it has its
// digest, and name+partSuffix until then. Its root is the library: no symbolic
// link leads out.
type part struct {
	images.Artifact
	root *os.Root
	name string
}

// whole reports whether the file was found right.
func (p part) whole() (bool, error) {
	info, err := p.root.Lstat(p.name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() || info.Size() != p.Size {
		return false, fmt.Errorf("%s in the upload is not what was written: remove it", p.Path)
	}
	return true, nil
}

// have returns how much of the file is there, from its beginning. One that is
// elsewhere in the library becomes a link to it, after it was read and found
// right. When it returns the size, the file is whole.
func (p part) have(elsewhere string) (int64, error) {
	if whole, err := p.whole(); err != nil {
		return 0, err
	} else if whole {
		return p.Size, nil
	}
	if elsewhere != "" && p.link(elsewhere) {
		return p.Size, nil
	}
	info, err := p.root.Lstat(p.name + partSuffix)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, err
	case info.Mode().IsRegular() && info.Size() < p.Size:
		return info.Size(), nil
	}
	// It arrived, and the process ended before it was checked.
	err = p.finish()
	if wrong := (*ContentError)(nil); errors.As(err, &wrong) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return p.Size, nil
}

// link makes the file one with another of the library, if that is possible and
// the other is right. If not, the bytes are sent.
func (p part) link(elsewhere string) bool {
	if sum, err := sumFile(p.root, elsewhere); err != nil || sum != p.SHA256 {
		return false
	}
	if err := p.root.MkdirAll(filepath.Dir(p.name), 0o755); err != nil {
		return false
	}
	if err := p.root.Link(elsewhere, p.name); err != nil {
		return false
	}
	// What had arrived is of no use now; a rest of it would be in the image.
	err := p.root.Remove(p.name + partSuffix)
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// append adds bytes at the end, which must be at offset, and gives the file
// that is whole its name.
func (p part) append(offset int64, b []byte) (int64, error) {
	if whole, err := p.whole(); err != nil {
		return 0, err
	} else if whole && (offset != p.Size || len(b) > 0) {
		return p.Size, &OffsetError{Path: p.Path, Have: p.Size}
	} else if whole {
		return p.Size, nil
	}
	if err := p.root.MkdirAll(filepath.Dir(p.name), 0o755); err != nil {
		return 0, err
	}
	f, err := p.root.OpenFile(p.name+partSuffix, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() != offset {
		return info.Size(), &OffsetError{Path: p.Path, Have: info.Size()}
	}
	if int64(len(b)) > p.Size-offset {
		return offset, fmt.Errorf("more bytes than the %d of the manifest", p.Size)
	}
	n, err := f.Write(b)
	if offset += int64(n); err != nil || offset < p.Size {
		return offset, err
	}
	if err := f.Sync(); err != nil {
		return offset, err
	}
	if err := p.finish(); err != nil {
		return 0, err
	}
	return p.Size, nil
}

// finish gives a file its name, if it has the digest; if not, it is removed.
func (p part) finish() error {
	sum, err := sumFile(p.root, p.name+partSuffix)
	if err != nil {
		return err
	}
	if sum != p.SHA256 {
		if err := p.root.Remove(p.name + partSuffix); err != nil {
			return err
		}
		return &ContentError{Path: p.Path, Want: p.SHA256, Got: sum}
	}
	return p.root.Rename(p.name+partSuffix, p.name)
}

// syncFolders makes the names in an image's folder survive a power cut.
func syncFolders(root *os.Root, dir string, m images.Manifest) error {
	folders := map[string]bool{dir: true}
	for _, a := range Needed(m) {
		for d := filepath.Dir(filepath.FromSlash(a.Path)); d != "."; d = filepath.Dir(d) {
			folders[filepath.Join(dir, d)] = true
		}
	}
	for d := range folders {
		if err := syncFolder(root, d); err != nil {
			return err
		}
	}
	return nil
}

func syncFolder(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func sumFile(root *os.Root, name string) (string, error) {
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a file: %w", name, errors.Join(err, fs.ErrInvalid))
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
