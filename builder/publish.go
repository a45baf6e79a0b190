package builder

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/k8snode/k8snode/builder/disk"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/uki"
	"github.com/k8snode/k8snode/images"
)

// disk makes the disk image and the boot loader for the network.
func (b *build) disk(ctx context.Context, boot source.Outputs, root string) (source.Outputs, error) {
	return b.cached(stepDisk, func(work string) (map[string]string, error) {
		st, err := os.Stat(root)
		if err != nil {
			return nil, err
		}
		spec := b.plan.Recipe.Spec
		layout, err := disk.NewLayout(spec.Disk, b.plan.ID, st.Size())
		if err != nil {
			return nil, err
		}
		program, err := b.uki(ctx, work, boot)
		if err != nil {
			return nil, err
		}
		raw := filepath.Join(work, "disk.raw")
		if err := layout.Write(raw, disk.Content{Boot: program, Root: root}); err != nil {
			return nil, err
		}
		zst := filepath.Join(work, "disk.raw.zst")
		blocks, err := disk.Compress(ctx, raw, zst)
		if err != nil {
			return nil, err
		}
		files := map[string]string{"disk": zst, "blockmap": filepath.Join(work, "blockmap"), "ipxe": filepath.Join(work, "ipxe")}
		if err := writeJSON(files["blockmap"], blocks); err != nil {
			return nil, err
		}
		ipxe, err := b.bootFile(ctx, ipxePackage, ipxeFile)
		if err != nil {
			return nil, err
		}
		return files, os.WriteFile(files["ipxe"], ipxe, 0o644)
	})
}

func (b *build) uki(ctx context.Context, work string, boot source.Outputs) (string, error) {
	img := uki.Image{Cmdline: b.plan.Cmdline}
	var err error
	if img.Stub, err = b.bootFile(ctx, stubPackage, stubFile); err != nil {
		return "", err
	}
	for name, dst := range map[string]*[]byte{"kernel": &img.Linux, "initrd": &img.Initrd, "os-release": &img.OSRelease} {
		if *dst, err = os.ReadFile(b.o.Cache.Path(boot[name])); err != nil {
			return "", err
		}
	}
	if img.Uname, err = b.kernelVersion(boot); err != nil {
		return "", err
	}
	out := filepath.Join(work, "boot.efi")
	f, err := os.Create(out)
	if err != nil {
		return "", err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	if err := uki.Write(w, img); err != nil {
		return "", fmt.Errorf("joining kernel and initramfs: %w", err)
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	return out, f.Close()
}

func (b *build) bootFile(ctx context.Context, pkg, name string) ([]byte, error) {
	for _, d := range b.plan.Lock.Boot {
		if d.Package == pkg {
			return debFile(ctx, b.o.Cache.Path(d.SHA256), name, b.o.Env)
		}
	}
	return nil, fmt.Errorf("internal error: the lock has no %s", pkg)
}

func (b *build) kernelVersion(boot source.Outputs) (string, error) {
	v, err := os.ReadFile(b.o.Cache.Path(boot["version"]))
	return string(v), err
}

// publish makes the output folder beside its place and renames it. A folder
// that holds the same image already is left as it is.
func (b *build) publish(boot, image source.Outputs) (images.Manifest, error) {
	kernel, err := b.kernelVersion(boot)
	if err != nil {
		return images.Manifest{}, err
	}
	files := []struct{ name, digest string }{
		{images.DiskFile, image["disk"]},
		{images.BlockMapFile, image["blockmap"]},
		{images.KernelFile, boot["kernel"]},
		{images.InitrdFile, boot["initrd"]},
		{images.IPXEFile, image["ipxe"]},
	}
	var artifacts []images.Artifact
	for _, f := range files {
		st, err := os.Stat(b.o.Cache.Path(f.digest))
		if err != nil {
			return images.Manifest{}, err
		}
		artifacts = append(artifacts, images.Artifact{Path: f.name, Size: st.Size(), SHA256: f.digest})
	}
	m := b.plan.manifest(kernel, artifacts)
	if published(b.o.Out, m) {
		return m, nil
	}
	err = b.timed("publish", func() error {
		parent, name := filepath.Split(filepath.Clean(b.o.Out))
		if parent == "" {
			parent = "."
		}
		if err := os.MkdirAll(parent, 0o755); err != nil {
			return err
		}
		tmp, err := os.MkdirTemp(parent, "."+name+"-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		if err := os.Chmod(tmp, 0o755); err != nil {
			return err
		}
		for _, f := range files {
			if err := b.copyOut(filepath.Join(tmp, filepath.FromSlash(f.name)), f.digest); err != nil {
				return err
			}
		}
		if err := writeJSON(filepath.Join(tmp, images.ManifestFile), m); err != nil {
			return err
		}
		return replaceDir(tmp, b.o.Out)
	})
	if err != nil {
		return images.Manifest{}, fmt.Errorf("writing %s: %w", b.o.Out, err)
	}
	return m, nil
}

// copyOut copies a file of the cache, checking its digest on the way: what is
// published was read back.
func (b *build) copyOut(dst, digest string) error {
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	r, err := b.o.Cache.Open(digest)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

// published reports whether dir holds the image of m, by ID and by the sizes
// of its files.
func published(dir string, m images.Manifest) bool {
	b, err := os.ReadFile(filepath.Join(dir, images.ManifestFile))
	if err != nil {
		return false
	}
	want, err := json.MarshalIndent(m, "", "  ")
	if err != nil || string(b) != string(want)+"\n" {
		return false
	}
	for _, a := range m.Artifacts {
		st, err := os.Stat(filepath.Join(dir, filepath.FromSlash(a.Path)))
		if err != nil || st.Size() != a.Size {
			return false
		}
	}
	return true
}

// replaceDir puts the folder tmp in the place of dst.
func replaceDir(tmp, dst string) error {
	old := tmp + ".old"
	err := os.Rename(dst, old)
	switch {
	case err == nil:
		defer os.RemoveAll(old)
	case !os.IsNotExist(err):
		return err
	}
	if err := os.Rename(tmp, dst); err != nil {
		if back := os.Rename(old, dst); back != nil && !os.IsNotExist(back) {
			return fmt.Errorf("%w; the former image is in %s", err, old)
		}
		return err
	}
	return nil
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
