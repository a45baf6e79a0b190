package builder

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/k8snode/k8snode/builder/rootfs"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/squashfs"
	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/images"
)

// layers packs what the root is made of and returns the packed files.
func (b *build) layers(ctx context.Context, p pieces) ([]string, error) {
	if p.provisioned != nil {
		file, err := b.provisionedLayer(ctx, p.provisioned.sealed)
		return []string{file}, err
	}
	var packed []string
	for _, l := range b.plan.Layers {
		out, err := b.cached(stepLayer+l.Name, func(work string) (map[string]string, error) {
			file := filepath.Join(work, "layer")
			files := map[string]string{outputFile: file}
			if l.Name == layerBase {
				return files, b.packArchive(ctx, file, p.base, squashfs.Beneath(rootfs.Keep, b.plan.over()))
			}
			entries, err := b.layerEntries(l, p.made)
			if err != nil {
				return nil, err
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

// provisionedLayer packs a root that was changed, which has everything.
func (b *build) provisionedLayer(ctx context.Context, sealed string) (string, error) {
	out, err := b.cached(stepLayer+layerProvisioned, func(work string) (map[string]string, error) {
		file := filepath.Join(work, "layer")
		return map[string]string{outputFile: file}, b.packArchive(ctx, file, sealed, b.plan.kept())
	})
	return b.o.Cache.Path(out[outputFile]), err
}

// layerEntries are the files of a layer, as steps made them.
func (b *build) layerEntries(l Layer, made map[string]source.Outputs) ([]tree.Entry, error) {
	entries := make([]tree.Entry, 0, len(l.Files))
	for _, f := range l.Files {
		e, err := tree.FromFile(tree.Clean(f.Path), b.o.Cache.Path(made[f.Step][f.Output]), f.Mode)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// topLayer packs the recipe's own files and the agent.
func (b *build) topLayer(ctx context.Context, img image) (string, error) {
	agent, err := tree.FromFile(tree.Clean(images.AgentPath), b.o.Agent, 0o755)
	if err != nil {
		return "", err
	}
	top := filepath.Join(img.work, "layer")
	return top, b.packTree(ctx, top, append([]tree.Entry{agent}, b.plan.Entries...))
}

// openLayers opens the packed layers, and packs the highest one. The caller
// closes what it gets, even with an error.
func (b *build) openLayers(ctx context.Context, p parts, img image) ([]*squashfs.Layer, error) {
	names := slices.Clone(p.layers)
	if p.provisioned == nil {
		top, err := b.topLayer(ctx, img)
		if err != nil {
			return nil, err
		}
		names = append(names, top)
	}
	var layers []*squashfs.Layer
	for _, name := range names {
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

// packArchive packs the files of an archive that the filter keeps.
func (b *build) packArchive(ctx context.Context, dst, archive string, keep tree.Filter) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	entries, err := squashfs.FromTar(f, st.Size(), keep)
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
