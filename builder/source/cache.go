package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A Cache holds files by the SHA-256 of their content, and the outputs of
// build steps by the digest of all that went into them. It lives outside the
// checkout and may be deleted at any time.
type Cache struct {
	// Dir is created when needed.
	Dir string
}

// Path returns where the file of a digest is, or would be.
func (c Cache) Path(digest string) string {
	return filepath.Join(c.Dir, "sha256", digest[:2], digest)
}

// Has reports whether the file of a digest is present.
func (c Cache) Has(digest string) bool {
	_, err := os.Stat(c.Path(digest))
	return err == nil
}

// Open opens the file of a digest through a [Reader].
func (c Cache) Open(digest string) (io.ReadCloser, error) {
	f, err := os.Open(c.Path(digest))
	if err != nil {
		return nil, fmt.Errorf("opening cached sha256:%s: %w", digest, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{NewReader(f.Name(), f, digest), f}, nil
}

// Fetch returns the path of the file with the wanted digest and, when it is
// not there yet, makes it from what open returns. Other content is refused
// with a [DigestError] and leaves nothing behind.
func (c Cache) Fetch(ctx context.Context, name, want string, open func(context.Context) (io.ReadCloser, error)) (string, error) {
	path := c.Path(want)
	if c.Has(want) {
		return path, nil
	}
	r, err := open(ctx)
	if err != nil {
		return "", fmt.Errorf("fetching %s: %w", name, err)
	}
	defer r.Close()
	tmp, err := c.temp()
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if _, err := io.Copy(tmp, NewReader(name, r, want)); err != nil {
		return "", fmt.Errorf("fetching %s: %w", name, err)
	}
	return path, c.commit(tmp, path)
}

// Adopt moves a finished file into the cache and returns its digest. The file
// is gone from its old place.
func (c Cache) Adopt(file string) (string, error) {
	digest, _, err := SumFile(file)
	if err != nil {
		return "", err
	}
	path := c.Path(digest)
	if c.Has(digest) {
		return digest, os.Remove(file)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	if err := os.Rename(file, path); err != nil {
		return "", fmt.Errorf("caching %q: %w", file, err)
	}
	return digest, nil
}

// Outputs are the results of a build step: digests by name.
type Outputs map[string]string

// Lookup returns the outputs that a step with this key left, if all of them
// are still present.
func (c Cache) Lookup(key string) (Outputs, bool) {
	b, err := os.ReadFile(c.stepPath(key))
	if err != nil {
		return nil, false
	}
	var out Outputs
	if json.Unmarshal(b, &out) != nil || len(out) == 0 {
		return nil, false
	}
	for _, d := range out {
		if len(d) != 64 || !c.Has(d) {
			return nil, false
		}
	}
	return out, true
}

// Record remembers the outputs of the step with this key.
func (c Cache) Record(key string, out Outputs) error {
	b, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := c.temp()
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if _, err := tmp.Write(b); err != nil {
		return fmt.Errorf("recording step %s: %w", key, err)
	}
	return c.commit(tmp, c.stepPath(key))
}

// WorkDir makes an empty folder on the cache's file system, so that what is
// made in it can be adopted by renaming. The caller removes it.
func (c Cache) WorkDir(name string) (string, error) {
	dir := filepath.Join(c.Dir, "work")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return os.MkdirTemp(dir, name+"-")
}

func (c Cache) stepPath(key string) string {
	return filepath.Join(c.Dir, "steps", key[:2], key+".json")
}

func (c Cache) temp() (*os.File, error) {
	dir := filepath.Join(c.Dir, "work")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the cache: %w", err)
	}
	return os.CreateTemp(dir, "fetch-")
}

func (c Cache) commit(tmp *os.File, path string) error {
	if err := tmp.Sync(); err != nil {
		return fmt.Errorf("syncing %q: %w", tmp.Name(), err)
	}
	if err := tmp.Chmod(0o644); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("caching %q: %w", path, err)
	}
	return nil
}
