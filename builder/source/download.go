package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A File is a file of the web, pinned by its content.
type File struct {
	// Name is for people.
	Name string `json:"name"`
	// URL is where upstream has it; mirrors are asked in its place.
	URL    string `json:"url"`
	SHA256 string `json:"sha256"`
	// Size in bytes, 0 if it is not known.
	Size int64 `json:"size,omitempty"`
}

// lockPoll is how often a file that another process fetches is looked at.
const lockPoll = 200 * time.Millisecond

// gain is how many bytes make an attempt worth another.
const gain = 64 << 10

// Fetch brings a file into the cache and returns its path. What was fetched
// when an attempt, or the whole program, ended is kept, and the next one goes
// on from there. The errors that callers tell apart are [StatusError],
// [DigestError] and [ErrOffline].
func (h HTTP) Fetch(ctx context.Context, c Cache, f File) (string, error) {
	if ok, err := c.check(f.SHA256); ok || err != nil {
		return c.Path(f.SHA256), err
	}
	if h.Offline {
		return "", fmt.Errorf("fetching %s: %w", f.Name, ErrOffline)
	}
	p, err := c.openPartial(ctx, f)
	if err != nil {
		return "", fmt.Errorf("fetching %s: %w", f.Name, err)
	}
	defer p.Close()
	// Somebody else may have fetched it while we waited.
	if ok, err := c.check(f.SHA256); ok || err != nil {
		return c.Path(f.SHA256), err
	}
	d := download{http: h, file: f, address: Mirror(h.Mirrors, f.URL), to: p}
	if err := d.load(); err != nil {
		return "", fmt.Errorf("fetching %s: %w", f.Name, err)
	}
	if err := h.retry(ctx, d.attempt); err != nil {
		return "", fmt.Errorf("fetching %s: %w", f.Name, err)
	}
	if err := c.commit(p, c.Path(f.SHA256)); err != nil {
		return "", fmt.Errorf("fetching %s: %w", f.Name, err)
	}
	return c.Path(f.SHA256), nil
}

// openPartial opens the unfinished file of a download, for this process alone.
func (c Cache) openPartial(ctx context.Context, f File) (*os.File, error) {
	dir := filepath.Join(c.Dir, "work", "partial")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, c.unusable(dir, err)
	}
	path := filepath.Join(dir, SumJSON([]string{f.URL, f.SHA256}))
	for {
		p, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, c.unusable(path, err)
		}
		err = lockFile(ctx, p)
		if err == nil && isAt(p, path) {
			return p, nil
		}
		p.Close()
		if err != nil {
			return nil, err
		}
		// The one that had the lock moved the file into the cache.
	}
}

// lockFile waits for the lock of a file, which its last descriptor gives back.
func lockFile(ctx context.Context, f *os.File) error {
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		if locked, err := tryLock(f); locked || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// isAt reports whether the file at path is still the open one.
func isAt(f *os.File, path string) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(open, there)
}

// download is one file on its way.
type download struct {
	http    HTTP
	file    File
	address string
	to      *os.File
	// size and sum are of what is in the file.
	size int64
	sum  hash.Hash
	// etag tells whether the server still has the same file.
	etag string
	// restarted says that what was there was of no use: that is forgiven once.
	restarted bool
	// resumed says that some of the bytes are of an earlier attempt.
	resumed bool
}

// load reads what an earlier process has left.
func (d *download) load() error {
	d.sum = sha256.New()
	info, err := d.to.Stat()
	if err != nil {
		return err
	}
	if d.size, err = io.Copy(d.sum, io.LimitReader(d.to, info.Size())); err != nil {
		return fmt.Errorf("reading %q: %w", d.to.Name(), err)
	}
	return nil
}

// reset begins the file anew.
func (d *download) reset() error {
	d.size, d.sum, d.etag, d.resumed = 0, sha256.New(), "", false
	_, err := d.to.Seek(0, io.SeekStart)
	if err := errors.Join(err, d.to.Truncate(0)); err != nil {
		return &permanentError{fmt.Errorf("writing %q: %w", d.to.Name(), err)}
	}
	return nil
}

// attempt sends one request for what is missing.
func (d *download) attempt(ctx context.Context) (bool, error) {
	if d.size > 0 && d.size == d.file.Size {
		return false, d.finish()
	}
	before := d.size
	d.resumed = before > 0
	err := d.request(ctx)
	if err == nil {
		err = d.finish()
	}
	return d.size-before >= gain, err
}

func (d *download) request(ctx context.Context) error {
	header := http.Header{}
	if d.size > 0 {
		wanted := fmt.Sprintf("bytes=%d-", d.size)
		if d.file.Size > 0 {
			// Some registries understand no range without an end.
			wanted += fmt.Sprint(d.file.Size - 1)
		}
		header.Set("Range", wanted)
		if d.etag != "" {
			header.Set("If-Range", d.etag)
		}
	}
	res, err := d.http.get(ctx, http.MethodGet, d.address, header)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	total := int64(-1)
	switch res.StatusCode {
	case http.StatusOK:
		if d.size > 0 {
			if err := d.reset(); err != nil {
				return err
			}
		}
		total = res.ContentLength
	case http.StatusPartialContent:
		var start int64
		if _, err := fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-", &start); err != nil || start != d.size {
			return d.restart(fmt.Errorf("getting %s: the answer is another range than %d and on", d.address, d.size))
		}
		if res.ContentLength >= 0 {
			total = d.size + res.ContentLength
		}
	case http.StatusRequestedRangeNotSatisfiable:
		// Nothing is missing: it is all there, or it is of another file.
		if d.size > 0 {
			return nil
		}
		return statusError(d.address, res)
	default:
		return statusError(d.address, res)
	}
	// A weak one does not promise the same bytes (RFC 9110, 13.1.5).
	if etag := res.Header.Get("ETag"); strings.HasPrefix(etag, `"`) {
		d.etag = etag
	}
	if want := d.file.Size; want > 0 {
		if total >= 0 && total != want {
			return d.restart(d.mismatch("", total))
		}
		total = want
	}
	return d.copy(res.Body, total)
}

// copy appends what the server sends.
func (d *download) copy(body io.Reader, total int64) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			if d.file.Size > 0 && d.size+int64(n) > d.file.Size {
				return d.restart(d.mismatch("", d.size+int64(n)))
			}
			if _, err := d.to.Write(buf[:n]); err != nil {
				return d.writeError(err)
			}
			d.sum.Write(buf[:n])
			d.size += int64(n)
			if d.http.Progress != nil {
				d.http.Progress(d.file.Name, d.size, total)
			}
		}
		switch {
		case errors.Is(err, io.EOF) && d.file.Size > d.size:
			return fmt.Errorf("getting %s: the answer ends after %d of %d bytes", d.address, d.size, d.file.Size)
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("getting %s: the connection ended after %d of %d bytes", d.address, d.size, total)
		case err != nil:
			return stripURL(d.address, err)
		}
	}
}

func (d *download) writeError(err error) error {
	// The file's position is that of what was written, not of what counts.
	_, seekErr := d.to.Seek(d.size, io.SeekStart)
	err = errors.Join(fmt.Errorf("writing %q: %w", d.to.Name(), err), seekErr, d.to.Truncate(d.size))
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w; make room and try again: the %d bytes that are there are kept", err, d.size)
	}
	return &permanentError{err}
}

// finish checks the digest of the whole.
func (d *download) finish() error {
	got := hex.EncodeToString(d.sum.Sum(nil))
	if got == d.file.SHA256 {
		return nil
	}
	return d.restart(d.mismatch(got, d.size))
}

// mismatch says that the server has another file.
func (d *download) mismatch(got string, size int64) error {
	return &DigestError{
		Name: d.address, Got: got, Want: d.file.SHA256, Size: size, WantSize: d.file.Size,
		Remedy: "the server has another file than the one that was pinned: if upstream replaced it, correct the digest or lock again",
	}
}

// restart begins anew after an error that what was there may explain, which it
// does once. What was fetched from the start and is wrong stays wrong.
func (d *download) restart(err error) error {
	again := d.resumed && !d.restarted
	d.restarted = true
	if resetErr := d.reset(); resetErr != nil {
		return resetErr
	}
	if !again {
		return &permanentError{err}
	}
	return err
}
