package umlkernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/k8snode/k8snode/builder/source"
)

// suite is where Debian has a kernel with seccomp mode, which makes a guest
// several times faster; stable's has none.
const suite = "sid"

// pinned returns the package that the tests were written with.
func pinned() source.Deb {
	return source.Deb{
		Package:      "user-mode-linux",
		Version:      "7.2um1",
		Architecture: "amd64",
		Path:         "pool/main/u/user-mode-linux/user-mode-linux_7.2um1_amd64.deb",
		Size:         36430088,
		SHA256:       "f947c9244fd79d481299df2ad68961f6b3b7703bff38c4b0e726f861161da62c",
	}
}

// Options of [Fetch].
type Options struct {
	// Cache is the folder that builds use too.
	Cache string
	// Env are KEY=value settings of the commands.
	Env []string
	// Logger says what is fetched; nil discards.
	Logger *slog.Logger
}

// Fetch returns the folder of the kernel: the program linux, and modules/ with
// a folder for its version.
func Fetch(ctx context.Context, opts Options) (string, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := opts.fetch(ctx, pinned())
	if err != nil {
		return "", fmt.Errorf("fetching the kernel of User-Mode Linux: %w", err)
	}
	return dir, nil
}

func (o Options) fetch(ctx context.Context, d source.Deb) (string, error) {
	dir := o.dir(d)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	mirror, err := source.HostMirror(ctx)
	if err != nil {
		return "", err
	}
	cache, release, err := source.Cache{Dir: o.Cache}.Claim()
	if err != nil {
		return "", err
	}
	defer release()
	archive := source.Archive{
		Mirror: mirror, Suites: []string{suite}, Components: []string{"main"},
		Dir: filepath.Join(o.Cache, "apt", "user-mode-linux"), Env: o.Env,
	}
	o.Logger.Info("fetching a kernel", "package", d.Package, "version", d.Version)
	deb, err := archive.Fetch(ctx, cache, nil, d)
	var gone *source.StatusError
	if errors.As(err, &gone) && gone.Gone() {
		if d, err = o.resolve(ctx, archive, d); err != nil {
			return "", err
		}
		if dir = o.dir(d); exists(dir) {
			return dir, nil
		}
		deb, err = archive.Fetch(ctx, cache, nil, d)
	}
	if err != nil {
		return "", err
	}
	return dir, o.unpack(ctx, cache, deb, dir)
}

func (o Options) dir(d source.Deb) string { return filepath.Join(o.Cache, "uml", d.SHA256) }

// resolve finds the package that has taken the place of an old one.
func (o Options) resolve(ctx context.Context, archive source.Archive, old source.Deb) (source.Deb, error) {
	unlock, err := archive.Lock(ctx)
	if err != nil {
		return source.Deb{}, err
	}
	defer unlock()
	if err := archive.Update(ctx); err != nil {
		return source.Deb{}, err
	}
	debs, err := archive.Resolve(ctx, []string{old.Package})
	if err != nil {
		return source.Deb{}, err
	}
	i := slices.IndexFunc(debs, func(d source.Deb) bool { return d.Package == old.Package })
	if i < 0 {
		return source.Deb{}, fmt.Errorf("%s has no package %s", suite, old.Package)
	}
	o.Logger.Warn("the pinned kernel is gone from the mirror: pin the new one",
		"package", old.Package, "pinned", old.Version, "instead", debs[i].Version, "sha256", debs[i].SHA256)
	return debs[i], nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (o Options) unpack(ctx context.Context, cache source.Cache, deb, dir string) error {
	work, err := cache.WorkDir("uml")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	tree, fresh := filepath.Join(work, "tree"), filepath.Join(work, "kernel")
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--extract", deb, tree)
	cmd.Env = o.Env
	if _, err := source.Run(cmd); err != nil {
		return err
	}
	if err := os.Mkdir(fresh, 0o755); err != nil {
		return err
	}
	for from, to := range map[string]string{"usr/bin/linux.uml": "linux", "usr/lib/uml/modules": "modules"} {
		if err := os.Rename(filepath.Join(tree, from), filepath.Join(fresh, to)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, fs.ErrExist) && !exists(dir) {
		return err
	}
	return nil
}

// Libraries writes the C library of an image, as the folder /lib64, to dir.
func Libraries(ctx context.Context, squashfs, dir string) error {
	tree := dir + ".tree"
	defer os.RemoveAll(tree)
	const lib = "usr/lib/x86_64-linux-gnu/"
	names := []string{"ld-linux-x86-64.so.2", "libc.so.6"}
	args := []string{"-quiet", "-no-progress", "-no-xattrs", "-dest", tree, squashfs}
	for _, name := range names {
		args = append(args, lib+name)
	}
	if _, err := source.Run(exec.CommandContext(ctx, "unsquashfs", args...)); err != nil {
		return fmt.Errorf("reading the C library of %s: %w", squashfs, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("writing the C library of %s: %w", squashfs, err)
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(tree, lib, name), filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("writing the C library of %s: %w", squashfs, err)
		}
	}
	return nil
}
