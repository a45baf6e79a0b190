package library

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/images/signature"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

// Errors that callers tell apart.
var (
	// ErrUnknown is wrapped by errors about an ID that the library has not.
	ErrUnknown = errors.New("there is no such image")
	// ErrNoCurrent is wrapped where no image was activated.
	ErrNoCurrent = errors.New("no image is active")
	// ErrCurrent is wrapped when the current image would be removed.
	ErrCurrent = errors.New("it is the image that new installs get")
	// ErrSingle is wrapped when something is published to one image.
	ErrSingle = errors.New("this server serves one image; start it with a library of images to publish to it")
)

const (
	incomingDir = ".incoming"
	currentFile = "current"
	// removedSuffix ends the name of an image that is being removed.
	removedSuffix = ".removed"
)

// Options of [Open] and [Single]. The zero value is usable.
type Options struct {
	// Keys are those of which one must have signed an image before it is
	// published or activated; without any, nobody needs to.
	Keys signature.Keys
}

// A Library is a folder of images, or one image.
type Library struct {
	dir  string
	keys signature.Keys
	// single is the ID of the one image, whose folder is dir.
	single string

	// mu guards the folder's own entries and locks.
	mu sync.Mutex
	// locks has one for each image that is being published, which guards its
	// folder below .incoming.
	locks map[string]*sync.Mutex
}

// An Image is a complete one.
type Image struct {
	// Dir is its folder.
	Dir      string
	Manifest images.Manifest
	// Text is the manifest as it is, Signature that of it, nil when nobody
	// signed it. Whether it is good says [Library.Trusted].
	Text, Signature []byte
}

// Open opens the library in a folder, which is made if it is not there.
func Open(dir string, o Options) (*Library, error) {
	if _, err := os.Stat(filepath.Join(dir, images.ManifestFile)); err == nil {
		return nil, fmt.Errorf("opening the library of images: %s is an image itself: name a folder for images", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, incomingDir), 0o755); err != nil {
		return nil, fmt.Errorf("opening the library of images: %w", err)
	}
	if err := sweep(filepath.Join(dir, incomingDir)); err != nil {
		return nil, fmt.Errorf("opening the library of images: %w", err)
	}
	return &Library{dir: dir, keys: o.Keys}, nil
}

// sweep removes what a process that ended began to remove.
func sweep(incoming string) error {
	entries, err := os.ReadDir(incoming)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), removedSuffix) {
			if err := os.RemoveAll(filepath.Join(incoming, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Single is one image in a folder of its own. Whether it can be served says
// [Check], and whether its signature is good [Library.Trusted].
func Single(dir string, o Options) (*Library, error) {
	m, err := images.OpenManifest(dir)
	if err != nil {
		return nil, err
	}
	return &Library{dir: dir, keys: o.Keys, single: m.ID}, nil
}

// idRE matches IDs that may be names of folders and parts of URLs.
var idRE = regexp.MustCompile(`^[0-9a-z][0-9a-z-]{0,127}$`)

var digestRE = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Check reports everything that keeps an image from being served: machines
// boot from it, and its names become paths and URLs.
func Check(m images.Manifest) error {
	var problems []error
	if !idRE.MatchString(m.ID) {
		problems = append(problems, fmt.Errorf("image ID %q: not a plain name", m.ID))
	}
	for _, path := range []string{images.KernelFile, images.InitrdFile, images.DiskFile, images.BlockMapFile} {
		if _, ok := m.Artifact(path); !ok {
			problems = append(problems, fmt.Errorf("image %q has no %s", m.ID, path))
		}
	}
	for _, a := range m.Artifacts {
		if !fs.ValidPath(a.Path) || a.Path == "." || a.Path == images.ManifestFile || a.Path == images.SumsFile || a.Path == images.SignatureFile || strings.HasSuffix(a.Path, partSuffix) {
			problems = append(problems, fmt.Errorf("artifact %q: not a path below the image's folder", a.Path))
		}
		if !digestRE.MatchString(a.SHA256) {
			problems = append(problems, fmt.Errorf("artifact %q: %q is not a digest", a.Path, a.SHA256))
		}
		if a.Size < 0 {
			problems = append(problems, fmt.Errorf("artifact %q: a size of %d bytes", a.Path, a.Size))
		}
	}
	return errors.Join(problems...)
}

// Image returns the image of an ID.
func (l *Library) Image(id string) (Image, error) {
	dir := l.dir
	switch {
	case l.single == "" && idRE.MatchString(id):
		dir = filepath.Join(l.dir, id)
	case l.single == "" || l.single != id:
		return Image{}, fmt.Errorf("image %q: %w", id, ErrUnknown)
	}
	m, text, err := images.ReadManifest(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, fmt.Errorf("image %q: %w", id, ErrUnknown)
	}
	if err != nil {
		return Image{}, err
	}
	if m.ID != id {
		return Image{}, fmt.Errorf("reading image %q: the folder is that of image %q", id, m.ID)
	}
	sig, err := images.OpenSignature(dir)
	if err != nil {
		return Image{}, err
	}
	return Image{Dir: dir, Manifest: m, Text: text, Signature: sig}, nil
}

// Current returns the image that new installs get.
func (l *Library) Current() (Image, error) {
	if l.single != "" {
		return l.Image(l.single)
	}
	b, err := os.ReadFile(filepath.Join(l.dir, currentFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, fmt.Errorf("%w: activate one with \"k8snode images activate\"", ErrNoCurrent)
	}
	if err != nil {
		return Image{}, fmt.Errorf("reading which image is active: %w", err)
	}
	return l.Image(strings.TrimSpace(string(b)))
}

// Images returns every complete image, sorted by ID.
func (l *Library) Images() ([]Image, error) {
	if l.single != "" {
		one, err := l.Image(l.single)
		return []Image{one}, err
	}
	ids, err := folders(l.dir)
	if err != nil {
		return nil, fmt.Errorf("reading the library of images: %w", err)
	}
	all := make([]Image, 0, len(ids))
	for _, id := range ids {
		one, err := l.Image(id)
		if errors.Is(err, ErrUnknown) {
			continue // a folder of somebody else's
		}
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// folders are the names of folders that may be images, sorted.
func folders(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && idRE.MatchString(e.Name()) {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// lock keeps others from the upload of an image until the function that it
// returns is called.
func (l *Library) lock(id string) (unlock func()) {
	l.mu.Lock()
	if l.locks == nil {
		l.locks = make(map[string]*sync.Mutex)
	}
	one := l.locks[id]
	if one == nil {
		one = new(sync.Mutex)
		l.locks[id] = one
	}
	l.mu.Unlock()
	one.Lock()
	return one.Unlock
}

// Activate makes an image the one that new installs get.
func (l *Library) Activate(_ context.Context, id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	one, err := l.Image(id)
	if err == nil {
		err = l.Trusted(one)
	}
	if err != nil {
		return fmt.Errorf("activating an image: %w", err)
	}
	if l.single != "" {
		return nil
	}
	if err := atomicfile.Write(filepath.Join(l.dir, currentFile), []byte(id+"\n"), 0o644); err != nil {
		return fmt.Errorf("activating image %q: %w", id, err)
	}
	return nil
}

// Remove removes an image that is not the current one, or what has arrived of
// one.
func (l *Library) Remove(_ context.Context, id string) error {
	if l.single != "" {
		return fmt.Errorf("removing image %q: %w", id, ErrSingle)
	}
	if !idRE.MatchString(id) {
		return fmt.Errorf("removing image %q: %w", id, ErrUnknown)
	}
	defer l.lock(id)()
	if _, err := l.uploading(id); err == nil {
		if err := os.RemoveAll(filepath.Join(l.dir, incomingDir, id)); err != nil {
			return fmt.Errorf("removing the upload of image %q: %w", id, err)
		}
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	one, err := l.Image(id)
	if err != nil {
		return fmt.Errorf("removing an image: %w", err)
	}
	current, err := l.Current()
	if err != nil && !errors.Is(err, ErrNoCurrent) && !errors.Is(err, ErrUnknown) {
		return err
	}
	if err == nil && current.Manifest.ID == id {
		return fmt.Errorf("removing image %q: %w", id, ErrCurrent)
	}
	// The name goes first: half an image is none.
	gone := filepath.Join(l.dir, incomingDir, id+removedSuffix)
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("removing image %q: %w", id, err)
	}
	if err := os.Rename(one.Dir, gone); err != nil {
		return fmt.Errorf("removing image %q: %w", id, err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("removing image %q: %w", id, err)
	}
	return nil
}
