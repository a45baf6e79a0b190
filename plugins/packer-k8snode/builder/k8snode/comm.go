package k8snode

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/builder/chroot"
)

// communicator lets provisioners work on the root as if it were a machine.
type communicator struct {
	ctx          context.Context //nolint:containedctx // Packer's interface has none where files move
	root         *builder.Root
	reproducible bool
	shared       *opened
}

// opened is what communicators of one build share.
type opened struct {
	mu   sync.Mutex
	used bool
	// giveUp ends the provisioners. Without it some of them try for minutes
	// again what will never work.
	giveUp context.CancelCauseFunc
}

var _ packersdk.Communicator = (*communicator)(nil)

// newCommunicator returns a communicator, and the context of those who use it:
// it ends when there is no root to be had, with that as its cause.
func newCommunicator(ctx context.Context, root *builder.Root, c Config) (*communicator, context.Context) {
	ctx, giveUp := context.WithCancelCause(ctx)
	return &communicator{ctx: ctx, root: root, reproducible: c.Reproducible, shared: &opened{giveUp: giveUp}}, ctx
}

// in returns the communicator for another context.
func (c *communicator) in(ctx context.Context) *communicator {
	other := *c
	other.ctx = ctx
	return &other
}

// used reports whether the root was unpacked.
func (c *communicator) used() bool {
	c.shared.mu.Lock()
	defer c.shared.mu.Unlock()
	return c.shared.used
}

func (c *communicator) open(ctx context.Context) (chroot.Root, error) {
	c.shared.mu.Lock()
	defer c.shared.mu.Unlock()
	root, err := chroot.Root{}, error(errNotReproducible)
	if !c.reproducible {
		c.shared.used = true
		root, err = c.root.Open(ctx)
	}
	if err != nil {
		c.shared.giveUp(err)
	}
	return root, err
}

// notStarted is the exit status of a command that the root could not run, as
// shells have it.
const notStarted = 126

// Start runs a command in the root, in the background.
func (c *communicator) Start(ctx context.Context, cmd *packersdk.RemoteCmd) error {
	root, err := c.open(ctx)
	if err != nil {
		return err
	}
	go func() {
		err := root.Run(ctx, chroot.Command{Line: cmd.Command, Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr})
		exit := (*chroot.ExitError)(nil)
		switch {
		case err == nil:
			cmd.SetExited(0)
		case errors.As(err, &exit):
			cmd.SetExited(exit.Code)
		default:
			if cmd.Stderr != nil {
				fmt.Fprintln(cmd.Stderr, err) //nolint:errcheck // there is nobody else to tell
			}
			cmd.SetExited(notStarted)
		}
	}()
	return nil
}

// Upload writes a file.
func (c *communicator) Upload(dst string, content io.Reader, info *os.FileInfo) error {
	root, err := c.open(c.ctx)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if info != nil && *info != nil {
		mode = (*info).Mode()
		if strings.HasSuffix(dst, "/") {
			dst = path.Join(dst, (*info).Name())
		}
	}
	return root.Write(c.ctx, dst, content, mode)
}

// UploadDir writes a folder: itself into dst, or with a slash at the end of src
// its content.
func (c *communicator) UploadDir(dst, src string, exclude []string) error {
	root, err := c.open(c.ctx)
	if err != nil {
		return err
	}
	if !strings.HasSuffix(src, "/") {
		dst = path.Join(dst, filepath.Base(src))
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeTar(w, src, exclude)) }()
	defer r.Close()
	return root.WriteTar(c.ctx, dst, r)
}

// Download reads a file.
func (c *communicator) Download(src string, w io.Writer) error {
	root, err := c.open(c.ctx)
	if err != nil {
		return err
	}
	return root.Read(c.ctx, src, w)
}

// DownloadDir reads a folder, with the same rule about the slash.
func (c *communicator) DownloadDir(src, dst string, exclude []string) error {
	root, err := c.open(c.ctx)
	if err != nil {
		return err
	}
	if !strings.HasSuffix(src, "/") {
		dst = filepath.Join(dst, path.Base(src))
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(root.ReadTar(c.ctx, src, w)) }()
	defer r.Close()
	return readTar(r, dst, exclude)
}

// writeTar writes an archive of a folder of the host.
func writeTar(w io.Writer, dir string, exclude []string) error {
	archive := tar.NewWriter(w)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || rel == "." {
			return err
		}
		if excluded(rel, exclude) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		return addTar(archive, name, rel)
	})
	if err != nil {
		return fmt.Errorf("reading %s: %w", dir, err)
	}
	return archive.Close()
}

func addTar(archive *tar.Writer, name, rel string) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	var link string
	if info.Mode()&fs.ModeSymlink != 0 {
		if link, err = os.Readlink(name); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, link)
	if err != nil {
		return err
	}
	h.Name = filepath.ToSlash(rel)
	if err := archive.WriteHeader(h); err != nil || !info.Mode().IsRegular() {
		return err
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(archive, f)
	return err
}

// readTar unpacks an archive into a folder of the host. It came out of a root
// in which anybody's program ran: nothing is written outside of the folder.
func readTar(r io.Reader, dir string, exclude []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	to, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	archive := tar.NewReader(r)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, r) // so that the writer ends as it wants to
			return err
		}
		if err != nil {
			return fmt.Errorf("writing %s: %w", dir, err)
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if name == "" || excluded(name, exclude) {
			continue
		}
		if err := extract(to, name, h, archive); err != nil {
			return fmt.Errorf("writing %s: %w", filepath.Join(dir, name), err)
		}
	}
}

func extract(to *os.Root, name string, h *tar.Header, content io.Reader) error {
	mode := h.FileInfo().Mode().Perm()
	if err := to.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return to.MkdirAll(name, mode)
	case tar.TypeSymlink:
		return to.Symlink(h.Linkname, name)
	case tar.TypeReg:
		f, err := to.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err := io.Copy(f, content); err != nil {
			return err
		}
		return f.Close()
	}
	return nil // devices and sockets stay where they are
}

// excluded reports whether a path or a folder above it is one of the list.
func excluded(name string, list []string) bool {
	for _, e := range list {
		e = path.Clean(filepath.ToSlash(e))
		if name == e || strings.HasPrefix(name, e+"/") {
			return true
		}
	}
	return false
}
