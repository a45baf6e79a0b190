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
	"syscall"
)

// A Cache holds files by the SHA-256 of their content, and the outputs of
// build steps by the digest of all that went into them. It lives outside the
// checkout and may be deleted at any time.
type Cache struct {
	// Dir is created when needed.
	Dir string
	// work is the folder of this process, see [Cache.Claim].
	work string
}

// Path returns where the file of a digest is, or would be.
func (c Cache) Path(digest string) string {
	return filepath.Join(c.Dir, "sha256", digest[:2], digest)
}

// Has reports whether the file of a digest is present.
func (c Cache) Has(digest string) bool {
	ok, err := c.check(digest)
	return ok && err == nil
}

// check reports whether the file of a digest is present. A cache that cannot be
// used is an error, not an absent file: nothing could be stored in it.
func (c Cache) check(digest string) (bool, error) {
	path := c.Path(digest)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, c.unusable(path, err)
	case !info.Mode().IsRegular():
		return false, c.unusable(path, errors.New("not a regular file"))
	}
	return true, nil
}

// unusable says what to do about a broken cache.
func (c Cache) unusable(path string, err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	remedy := fmt.Sprintf("delete %q, it will be made again", path)
	switch {
	case errors.Is(err, fs.ErrPermission):
		remedy = fmt.Sprintf("make %q yours, or name another folder with --cache", c.Dir)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EROFS):
		remedy = "make room, or name another folder with --cache"
	}
	return fmt.Errorf("using the cache: %q: %w; %s", path, err, remedy)
}

// Open opens the file of a digest through a [Reader].
func (c Cache) Open(digest string) (io.ReadCloser, error) {
	f, err := os.Open(c.Path(digest))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("opening cached sha256:%s: %w", digest, err)
	case err != nil:
		return nil, c.unusable(c.Path(digest), err)
	}
	r := NewReader("cached file "+f.Name(), f, digest)
	r.remedy = "delete it, it will be made again"
	return struct {
		io.Reader
		io.Closer
	}{r, f}, nil
}

// Verify reads the file of a digest and returns a [DigestError] if it has
// other content.
func (c Cache) Verify(digest string) error {
	r, err := c.Open(digest)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

// Fetch returns the path of the file with the wanted digest and, when it is
// not there yet, makes it from what open returns. Other content is refused
// with a [DigestError] and leaves nothing behind.
func (c Cache) Fetch(ctx context.Context, name, want string, open func(context.Context) (io.ReadCloser, error)) (string, error) {
	path := c.Path(want)
	if ok, err := c.check(want); ok || err != nil {
		return path, err
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
	if ok, err := c.check(digest); err != nil {
		return "", err
	} else if ok {
		return digest, os.Remove(file)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", c.unusable(filepath.Dir(path), err)
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
	dir := c.workRoot()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", c.unusable(dir, err)
	}
	work, err := os.MkdirTemp(dir, name+"-")
	if err != nil {
		return "", c.unusable(dir, err)
	}
	return work, nil
}

func (c Cache) stepPath(key string) string {
	return filepath.Join(c.Dir, "steps", key[:2], key+".json")
}

func (c Cache) temp() (*os.File, error) {
	dir := c.workRoot()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, c.unusable(dir, err)
	}
	tmp, err := os.CreateTemp(dir, "fetch-")
	if err != nil {
		return nil, c.unusable(dir, err)
	}
	return tmp, nil
}

func (c Cache) commit(tmp *os.File, path string) error {
	if err := tmp.Sync(); err != nil {
		return fmt.Errorf("syncing %q: %w", tmp.Name(), err)
	}
	if err := tmp.Chmod(0o644); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return c.unusable(filepath.Dir(path), err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return c.unusable(path, err)
	}
	return nil
}
