package handover

import (
	"context"
	"debug/pe"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Where the parts of the boot program go, and where it is read.
const (
	espDir    = "/run/k8snode/esp"
	kernelDir = "/run/k8snode/kexec"
)

// maxCmdline bounds a kernel command line: that of x86 is 2048 bytes.
const maxCmdline = 4096

// A Kernel is what the running kernel starts in its own place.
type Kernel struct {
	// Linux and Initrd are paths.
	Linux, Initrd string
	Cmdline       string
}

// startKernel has the running kernel start the one of the disk. It returns only with
// an error.
func (o Options) startKernel(ctx context.Context, d installed) error {
	k, err := o.readKernel(ctx, d)
	if err != nil {
		return err
	}
	return o.Kexec(k)
}

// readKernel copies the parts of the boot program into memory: the kernel takes them
// by their files.
func (o Options) readKernel(ctx context.Context, d installed) (Kernel, error) {
	dir, mnt := o.path(kernelDir), o.path(espDir)
	for _, folder := range []string{dir, mnt} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return Kernel{}, err
		}
	}
	device := o.path("/dev/disk/by-partuuid/" + d.esp.GUID)
	if err := o.Runner.Run(ctx, nil, "mount", "-t", "vfat", "-o", "ro", device, mnt); err != nil {
		return Kernel{}, err
	}
	k, err := func() (Kernel, error) {
		f, err := os.Open(filepath.Join(mnt, strings.ReplaceAll(bootPath, `\`, "/")))
		if err != nil {
			return Kernel{}, err
		}
		defer f.Close()
		return split(f, dir)
	}()
	return k, errors.Join(err, o.Runner.Run(context.WithoutCancel(ctx), nil, "umount", mnt))
}

// split writes the parts of a unified kernel image to files in dir.
func split(program io.ReaderAt, dir string) (Kernel, error) {
	f, err := pe.NewFile(program)
	if err != nil {
		return Kernel{}, fmt.Errorf("reading the boot program: %w", err)
	}
	k := Kernel{Linux: filepath.Join(dir, "linux"), Initrd: filepath.Join(dir, "initrd")}
	for name, file := range map[string]string{".linux": k.Linux, ".initrd": k.Initrd} {
		part, err := section(f, name)
		if err != nil {
			return Kernel{}, err
		}
		if err := writeFrom(file, part); err != nil {
			return Kernel{}, fmt.Errorf("reading the boot program: %w", err)
		}
	}
	part, err := section(f, ".cmdline")
	if err != nil {
		return Kernel{}, err
	}
	line, err := io.ReadAll(io.LimitReader(part, maxCmdline))
	if err != nil {
		return Kernel{}, fmt.Errorf("reading the boot program: %w", err)
	}
	k.Cmdline, _, _ = strings.Cut(string(line), "\x00")
	return k, nil
}

// section is the content of a section without the zeros that fill it up.
func section(f *pe.File, name string) (io.Reader, error) {
	s := f.Section(name)
	if s == nil || s.VirtualSize == 0 || s.VirtualSize > s.Size {
		return nil, fmt.Errorf("reading the boot program: it has no whole section %s", name)
	}
	return io.LimitReader(s.Open(), int64(s.VirtualSize)), nil
}

func writeFrom(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// kexec leaves the running system. Nothing of it is mounted that could lose something.
func kexec(k Kernel) error {
	linux, err := os.Open(k.Linux)
	if err != nil {
		return err
	}
	defer linux.Close()
	initrd, err := os.Open(k.Initrd)
	if err != nil {
		return err
	}
	defer initrd.Close()
	if err := unix.KexecFileLoad(int(linux.Fd()), int(initrd.Fd()), k.Cmdline, 0); err != nil {
		return fmt.Errorf("loading the kernel: %w", err)
	}
	unix.Sync()
	return fmt.Errorf("starting the kernel: %w", unix.Reboot(unix.LINUX_REBOOT_CMD_KEXEC))
}
