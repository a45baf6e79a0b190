package builder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/k8snode/k8snode/images"
)

// publish assembles the image beside the place of the output folder and
// renames it.
func (b *build) publish(ctx context.Context, p parts) (images.Manifest, error) {
	tmp, err := b.tempDir()
	if err != nil {
		return images.Manifest{}, fmt.Errorf("writing %s: %w", b.o.Out, err)
	}
	defer os.RemoveAll(tmp)
	m, err := b.assemble(ctx, p, tmp)
	if err != nil {
		return images.Manifest{}, err
	}
	if err := replaceDir(filepath.Join(tmp, imageDir), b.o.Out, tmp+".old"); err != nil {
		return images.Manifest{}, fmt.Errorf("writing %s: %w", b.o.Out, err)
	}
	return m, nil
}

// tempDir makes an empty folder beside the output folder.
func (b *build) tempDir() (string, error) {
	parent, name := filepath.Split(filepath.Clean(b.o.Out))
	if parent == "" {
		parent = "."
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	return os.MkdirTemp(parent, tempPrefix(name))
}

// tempPrefix begins the names of the folders that an output folder is made in.
func tempPrefix(name string) string { return "." + name + "-" }

// published returns the manifest of the image in dir if it is the one with
// this ID and its files have the sizes that the manifest says.
func published(dir, id string) (images.Manifest, bool) {
	m, err := images.OpenManifest(dir)
	if err != nil || m.ID != id || len(m.Artifacts) == 0 {
		return images.Manifest{}, false
	}
	for _, a := range m.Artifacts {
		st, err := os.Stat(filepath.Join(dir, filepath.FromSlash(a.Path)))
		if err != nil || st.Size() != a.Size {
			return images.Manifest{}, false
		}
	}
	return m, true
}

// replaceDir puts the folder tmp in the place of dst, whose former content is
// for a moment at old.
func replaceDir(tmp, dst, old string) error {
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
