package rootfs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/k8snode/k8snode/builder/source"
)

// BaseOptions are the inputs of [Base].
type BaseOptions struct {
	// Suite names the release that mmdebstrap adapts to.
	Suite string
	// Debs are all packages of the root, dependencies included.
	Debs []source.Deb
	// Cache holds their files.
	Cache source.Cache
	// Epoch is the timestamp of what is generated.
	Epoch time.Time
	// Work is an empty folder.
	Work string
	// Env of the commands, normally the caller's.
	Env []string
}

// BaseTools are the host programs that this package runs.
func BaseTools() []string {
	return []string{"mmdebstrap", "unshare", "chroot", "tar", "dpkg-deb"}
}

// Base installs the packages into an empty root and returns the path of a tar
// archive of it, in o.Work.
func Base(ctx context.Context, o BaseOptions) (string, error) {
	archive := filepath.Join(o.Work, "archive")
	if err := localArchive(archive, o.Suite, o.Epoch, o.Debs, o.Cache); err != nil {
		return "", fmt.Errorf("making a local archive: %w", err)
	}
	tar := filepath.Join(o.Work, "base.tar")
	cmd := exec.CommandContext(ctx, "mmdebstrap", o.args(archive, tar)...)
	cmd.Env = append(slices.Clone(o.Env),
		fmt.Sprintf("SOURCE_DATE_EPOCH=%d", o.Epoch.Unix()),
		"LC_ALL=C.UTF-8",
		"INITRD=No", // the kernel's hooks make no initramfs: ours comes later
	)
	if _, err := source.Run(cmd); err != nil {
		return "", fmt.Errorf("installing packages: %w", err)
	}
	return tar, nil
}

func (o BaseOptions) args(archive, tar string) []string {
	names := make([]string, 0, len(o.Debs))
	for _, d := range o.Debs {
		names = append(names, d.Package)
	}
	return []string{
		"--quiet", "--mode=root", "--variant=essential", "--format=tar",
		"--architectures=amd64", "--components=main",
		`--aptopt=APT::Install-Recommends "false"`,
		// The lists were verified when the lock was made, the files when
		// they were fetched.
		`--aptopt=Acquire::AllowInsecureRepositories "true"`,
		`--aptopt=APT::Get::AllowUnauthenticated "true"`,
		"--include=" + strings.Join(names, ","),
		o.Suite, tar,
		"deb [trusted=yes] copy://" + archive + " ./",
	}
}

// localArchive makes a flat Debian archive whose files are links to those of
// the cache.
func localArchive(dir, suite string, epoch time.Time, debs []source.Deb, cache source.Cache) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	fields, err := controls(debs, cache)
	if err != nil {
		return err
	}
	var list bytes.Buffer
	for i, d := range debs {
		name := fmt.Sprintf("%s_%s_%s.deb", d.Package, strings.ReplaceAll(d.Version, ":", "%3a"), d.Architecture)
		if err := os.Symlink(cache.Path(d.SHA256), filepath.Join(dir, name)); err != nil {
			return err
		}
		list.WriteString(d.Paragraph(fields[i], "./"+name) + "\n")
	}
	// mmdebstrap looks for the essential packages of its suite by name.
	release := fmt.Sprintf("Suite: %[1]s\nCodename: %[1]s\nArchitectures: amd64\nComponents: main\nDate: %[2]s\nSHA256:\n %[3]s %[4]d Packages\n",
		suite, epoch.UTC().Format(time.RFC1123), source.SumBytes(list.Bytes()), list.Len())
	if err := os.WriteFile(filepath.Join(dir, "Release"), []byte(release), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "Packages"), list.Bytes(), 0o644)
}

// controls returns the fields of each package: the lock pins the package, which
// says itself what it needs.
func controls(debs []source.Deb, cache source.Cache) ([]string, error) {
	fields := make([]string, len(debs))
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for i, d := range debs {
		g.Go(func() (err error) {
			fields[i], err = source.Control(cache.Path(d.SHA256))
			if err != nil {
				return fmt.Errorf("package %s: %w", d.Package, err)
			}
			return nil
		})
	}
	return fields, g.Wait()
}
