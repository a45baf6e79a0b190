package builder

import (
	"context"
	"os"
	"path/filepath"

	"github.com/k8snode/k8snode/builder/rootfs"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/squashfs"
	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/images"
)

// layers packs what the root is made of and returns the packed files.
func (b *build) layers(ctx context.Context, base string, made map[string]source.Outputs) ([]string, error) {
	var packed []string
	for _, l := range b.plan.Layers {
		out, err := b.cached(stepLayer+l.Name, func(work string) (map[string]string, error) {
			file := filepath.Join(work, "layer")
			files := map[string]string{outputFile: file}
			if l.Name == layerBase {
				return files, b.packBase(ctx, file, base)
			}
			var entries []tree.Entry
			for _, f := range l.Files {
				e, err := tree.FromFile(tree.Clean(f.Path), b.o.Cache.Path(made[f.Step][f.Output]), f.Mode)
				if err != nil {
					return nil, err
				}
				entries = append(entries, e)
			}
			return files, b.packTree(ctx, file, entries)
		})
		if err != nil {
			return nil, err
		}
		packed = append(packed, b.o.Cache.Path(out[outputFile]))
	}
	return packed, nil
}

// openLayers opens the packed layers, and packs the highest one: the recipe's
// own files and the agent. The caller closes what it gets, even with an error.
func (b *build) openLayers(ctx context.Context, p parts, img image) ([]*squashfs.Layer, error) {
	agent, err := tree.FromFile(tree.Clean(images.AgentPath), b.o.Agent, 0o755)
	if err != nil {
		return nil, err
	}
	top := filepath.Join(img.work, "layer")
	if err := b.packTree(ctx, top, append([]tree.Entry{agent}, b.plan.Entries...)); err != nil {
		return nil, err
	}
	var layers []*squashfs.Layer
	for _, name := range append(p.layers[:len(p.layers):len(p.layers)], top) {
		l, err := squashfs.Open(name)
		if err != nil {
			return layers, err
		}
		layers = append(layers, l)
	}
	return layers, nil
}

func closeLayers(layers []*squashfs.Layer) {
	for _, l := range layers {
		l.Close() //nolint:errcheck // it was only read
	}
}

// packBase packs the packages' files without those that lie over them.
func (b *build) packBase(ctx context.Context, dst, base string) error {
	f, err := os.Open(base)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	entries, err := squashfs.FromTar(f, st.Size(), squashfs.Beneath(rootfs.Keep, b.plan.over()))
	if err != nil {
		return err
	}
	return b.pack(ctx, dst, entries)
}

func (b *build) packTree(ctx context.Context, dst string, entries []tree.Entry) error {
	t, err := tree.New(entries)
	if err != nil {
		return err
	}
	return b.pack(ctx, dst, squashfs.FromTree(t))
}

func (b *build) pack(ctx context.Context, dst string, entries []squashfs.Entry) error {
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer out.Close()
	o := squashfs.PackOptions{Level: b.plan.Recipe.Spec.Disk.CompressionLevel, Jobs: b.o.Jobs}
	if err := squashfs.Pack(ctx, out, entries, o); err != nil {
		return err
	}
	return out.Close()
}
