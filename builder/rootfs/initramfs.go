package rootfs

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

//go:embed dracut
var dracutModule embed.FS

const dracutModuleName = "30k8snode"

// dracutModules are all modules of the initramfs. systemd drives it, so
// dracut's hooks, its initqueue and its own reading of the command line stay
// out.
var dracutModules = []string{ //nolint:gochecknoglobals // a constant list
	"systemd", "systemd-initrd", "systemd-udevd", "systemd-networkd", "systemd-journald",
	"systemd-tmpfiles", "systemd-sysusers", "systemd-modules-load", "systemd-sysctl",
	"kernel-modules", "kernel-modules-extra", "kernel-network-modules",
	"udev-rules", "base", "fs-lib", "shutdown", "k8snode",
}

// InitramfsOptions are the inputs of [Initramfs].
type InitramfsOptions struct {
	// Base is the archive that [Base] made.
	Base string
	// Changed is an archive of files that lie over it, and Removed are paths
	// that it goes without; empty for none.
	Changed string
	Removed []string
	// Ignition and Agent are programs of the host's architecture.
	Ignition, Agent string
	// ImageKeys are lines of [images.ImageKeysPath]; without any there is no
	// such file.
	ImageKeys []string
	Epoch     time.Time
	// Work is an empty folder.
	Work string
	Env  []string
}

// Boot is what [Initramfs] returns: files in the work folder.
type Boot struct {
	// Kernel and Initrd are paths.
	Kernel, Initrd string
	// Version is the kernel's release, for instance 7.3.4+deb13-amd64.
	Version string
	// Root is the unpacked base.
	Root string
}

// Initramfs makes the initramfs for the kernel of the base archive.
func Initramfs(ctx context.Context, o InitramfsOptions) (Boot, error) {
	root := filepath.Join(o.Work, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return Boot{}, err
	}
	if err := unpack(ctx, root, o); err != nil {
		return Boot{}, fmt.Errorf("unpacking the base: %w", err)
	}
	version, err := kernelVersion(root)
	if err != nil {
		return Boot{}, err
	}
	module := filepath.Join(root, "usr/lib/dracut/modules.d", dracutModuleName)
	if err := installModule(module, o); err != nil {
		return Boot{}, fmt.Errorf("installing the dracut module: %w", err)
	}
	// /dev of the host, a fresh /proc and fresh temporary folders, all in a
	// mount namespace that ends with the command.
	script := fmt.Sprintf(`set -eu
mount -t proc proc %[1]q/proc
mount --bind /dev %[1]q/dev
for d in tmp var/tmp run; do mount -t tmpfs tmpfs %[1]q/$d; done
exec chroot %[1]q env -i PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH=%[2]d %[3]s`,
		root, o.Epoch.Unix(), strings.Join(dracutArgs(version), " "))
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "sh", "-c", script)
	cmd.Env = o.Env
	if _, err := source.Run(cmd); err != nil {
		return Boot{}, fmt.Errorf("running dracut: %w", err)
	}
	return Boot{
		Kernel:  filepath.Join(root, "boot/vmlinuz-"+version),
		Initrd:  filepath.Join(root, "boot/k8snode.initrd"),
		Version: version,
		Root:    root,
	}, nil
}

// unpack makes the root that dracut looks at.
func unpack(ctx context.Context, root string, o InitramfsOptions) error {
	for _, archive := range []string{o.Base, o.Changed} {
		if archive == "" {
			continue
		}
		untar := exec.CommandContext(ctx, "tar", "--numeric-owner", "-xpf", archive, "-C", root)
		untar.Env = o.Env
		if _, err := source.Run(untar); err != nil {
			return err
		}
	}
	in, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer in.Close()
	for _, p := range o.Removed {
		if err := in.RemoveAll(p); err != nil {
			return err
		}
	}
	return nil
}

func dracutArgs(version string) []string {
	return []string{
		"dracut", "--force", "--quiet", "--no-hostonly", "--reproducible", "--no-early-microcode", "--zstd",
		"--kver", version, "--modules", `"` + strings.Join(dracutModules, " ") + `"`,
		"/boot/k8snode.initrd",
	}
}

// BootDigest names the content of the dracut module and the ways that dracut
// and GRUB's tools are called, for the key of the step that does.
func BootDigest() string {
	var parts []string
	_ = fs.WalkDir(dracutModule, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := dracutModule.ReadFile(p)
		parts = append(parts, p, string(b))
		return err
	})
	return source.SumJSON(append(append(parts, dracutArgs("")...), GrubDigest()))
}

func installModule(dir string, o InitramfsOptions) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	from := "dracut/" + dracutModuleName
	files, err := dracutModule.ReadDir(from)
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := dracutModule.ReadFile(from + "/" + f.Name())
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if strings.HasSuffix(f.Name(), ".sh") {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name()), b, mode); err != nil {
			return err
		}
	}
	if len(o.ImageKeys) > 0 {
		keys := strings.Join(o.ImageKeys, "\n") + "\n"
		if err := os.WriteFile(filepath.Join(dir, path.Base(images.ImageKeysPath)), []byte(keys), 0o644); err != nil {
			return err
		}
	}
	for name, src := range map[string]string{"ignition": o.Ignition, "k8snode-agent": o.Agent} {
		b, err := os.ReadFile(src)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o755); err != nil {
			return err
		}
	}
	return nil
}

func kernelVersion(root string) (string, error) {
	entries, err := os.ReadDir(filepath.Join(root, "usr/lib/modules"))
	if err != nil {
		return "", fmt.Errorf("looking for the kernel: %w", err)
	}
	names := make([]string, 0, 1)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	if len(names) != 1 {
		return "", fmt.Errorf("looking for the kernel: want exactly one in the image, have %v", names)
	}
	return names[0], nil
}
