package publish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/images/signature"
	"github.com/k8snode/k8snode/provision/library"
)

// A Target takes images: a [library.Library], or the client of a server that
// has one. Append returns a [*library.OffsetError] for bytes that do not begin
// where the file ends there.
type Target interface {
	Begin(ctx context.Context, o library.Offer) (library.Upload, error)
	Append(ctx context.Context, id, path string, offset int64, content io.Reader) (int64, error)
	Commit(ctx context.Context, id string) error
	Activate(ctx context.Context, id string) error
}

// After says what happens to an image that was published.
type After string

// What may happen.
const (
	// Keep leaves the image that new installs get as it is.
	Keep After = ""
	// Activate makes the published image the one that new installs get.
	Activate After = "activate"
)

// Options of [Image]. The zero value is usable.
type Options struct {
	After After
	// Keys are those of which one must have signed the image; without any, the
	// target alone decides.
	Keys signature.Keys
	// Attempts is how often in a row sending may fail without a byte of
	// progress; zero is 5.
	Attempts int
	// Wait waits before the next attempt, the n-th from 1; nil waits n
	// seconds.
	Wait func(ctx context.Context, n int) error
	// Progress is told how much of the image is at the target; nil is told
	// nothing.
	Progress func(done, total int64)
	// Logger gets a line for each file; nil discards them.
	Logger *slog.Logger
}

// A LocalFileError says that a file of the image is not what its manifest says.
type LocalFileError struct{ File, Want, Got string }

func (e *LocalFileError) Error() string {
	return fmt.Sprintf("%s has the digest %s, and its manifest says %s: it was changed after the bake; bake the image again", e.File, e.Got, e.Want)
}

// Image publishes the image in a folder, and returns its manifest.
func Image(ctx context.Context, dir string, to Target, o Options) (images.Manifest, error) {
	m, text, err := images.ReadManifest(dir)
	if err != nil {
		return images.Manifest{}, err
	}
	sig, err := images.OpenSignature(dir)
	if err != nil {
		return images.Manifest{}, err
	}
	if len(o.Keys) > 0 {
		if _, err := o.Keys.Check(text, sig); err != nil {
			return images.Manifest{}, fmt.Errorf("publishing %s: %w; sign it with \"k8snode sign\"", dir, err)
		}
	}
	offer := library.Offer{Manifest: text, Signature: sig}
	upload, err := to.Begin(ctx, offer)
	if err != nil {
		return images.Manifest{}, err
	}
	s := sender{dir: dir, to: to, o: o.withDefaults(), offer: offer, upload: upload}
	if !upload.Complete {
		if err := s.files(ctx); err != nil {
			return images.Manifest{}, err
		}
		if err := to.Commit(ctx, m.ID); err != nil {
			return images.Manifest{}, err
		}
	}
	if o.After == Activate {
		return m, to.Activate(ctx, m.ID)
	}
	return m, nil
}

func (o Options) withDefaults() Options {
	if o.Attempts <= 0 {
		o.Attempts = 5
	}
	if o.Wait == nil {
		o.Wait = wait
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func wait(ctx context.Context, n int) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Duration(n) * time.Second):
		return nil
	}
}

type sender struct {
	dir    string
	to     Target
	o      Options
	offer  library.Offer
	upload library.Upload
	// done are the bytes of files that are at the target, but for the one that
	// is being sent.
	done, total int64
}

func (s *sender) files(ctx context.Context) error {
	for _, f := range s.upload.Files {
		s.total += f.Size
	}
	for _, f := range s.upload.Files {
		sent := f.Size - f.Have
		if sent > 0 || f.Size == 0 {
			if err := s.file(ctx, f); err != nil {
				return err
			}
		}
		s.done += f.Size
		s.o.Progress(s.done, s.total)
		s.o.Logger.Info("published", "artifact", f.Path, "bytes", f.Size, "sent", sent)
	}
	return nil
}

// file sends one file, from where it ended, until it is there or does not get
// further.
func (s *sender) file(ctx context.Context, f library.File) error {
	failed, wrong := 0, 0
	for {
		err := s.send(ctx, f)
		if err == nil {
			return nil
		}
		// What is wrong in the end may have been wrong before this attempt, since
		// a power cut there. It is gone now, and cannot be wrong again.
		if content := (*library.ContentError)(nil); errors.As(err, &content) {
			wrong++
		}
		if failed++; failed > s.o.Attempts || wrong > 1 || final(ctx, err) {
			return err
		}
		s.o.Logger.Warn("sending broke off", "artifact", f.Path, "have", f.Have, "error", err)
		if err := s.o.Wait(ctx, failed); err != nil {
			return err
		}
		have, err := s.ask(ctx, f)
		if err != nil {
			return err
		}
		if have == f.Size {
			return nil
		}
		if have > f.Have {
			failed = 0
		}
		f.Have = have
	}
}

// final reports whether an error stays the same, whatever is tried.
func final(ctx context.Context, err error) bool {
	local := (*LocalFileError)(nil)
	return ctx.Err() != nil || errors.As(err, &local) || errors.Is(err, library.ErrUnknown) || errors.Is(err, library.ErrSingle)
}

// ask asks how much of a file has arrived; a server that does not answer has
// nothing new to say. What has all of its bytes there is right.
func (s *sender) ask(ctx context.Context, f library.File) (int64, error) {
	upload, err := s.to.Begin(ctx, s.offer)
	if err != nil {
		return f.Have, ctx.Err()
	}
	if upload.Complete { // by somebody else
		return f.Size, nil
	}
	for _, now := range upload.Files {
		if now.Path == f.Path {
			return now.Have, nil
		}
	}
	return f.Have, nil
}

// send sends a file from where it ended.
func (s *sender) send(ctx context.Context, f library.File) error {
	file, err := os.Open(filepath.Join(s.dir, filepath.FromSlash(f.Path)))
	if err != nil {
		return fmt.Errorf("reading the image: %w", err)
	}
	defer file.Close()
	r := &reader{file: file, sum: sha256.New(), want: f.SHA256, size: f.Size, told: func(n int64) {
		s.o.Progress(s.done+n, s.total)
	}}
	// What is there already is read as well: the digest is of the whole.
	if r.at, err = io.CopyN(r.sum, file, f.Have); errors.Is(err, io.EOF) {
		return r.damaged()
	} else if err != nil {
		return fmt.Errorf("reading the image: %w", err)
	}
	have, err := s.to.Append(ctx, s.upload.ID, f.Path, f.Have, r)
	if wrong := r.end(); wrong != nil {
		return wrong
	}
	if err == nil && have != f.Size {
		return fmt.Errorf("sending %s: %d of %d bytes arrived", f.Path, have, f.Size)
	}
	return err
}

// reader hashes what it reads, and holds back the end of a file that is wrong.
// An HTTP client may go on to read when it has returned: hence the lock, and
// the end.
type reader struct {
	file *os.File
	want string
	size int64
	told func(int64)

	mu    sync.Mutex
	sum   hash.Hash
	at    int64
	wrong error
	ended bool
}

func (r *reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return 0, os.ErrClosed
	}
	if r.wrong != nil {
		return 0, r.wrong
	}
	n, err := r.file.Read(p)
	r.sum.Write(p[:n])
	r.at += int64(n)
	if r.at >= r.size || errors.Is(err, io.EOF) {
		if r.wrong = r.damaged(); r.wrong != nil {
			return 0, r.wrong
		}
	}
	r.told(r.at)
	return n, err
}

// damaged says whether what was read is all, and right.
func (r *reader) damaged() error {
	if got := hex.EncodeToString(r.sum.Sum(nil)); got != r.want {
		return &LocalFileError{File: r.file.Name(), Want: r.want, Got: got}
	}
	return nil
}

// end keeps r from being read any more, and says what was wrong with the file.
func (r *reader) end() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	return r.wrong
}
