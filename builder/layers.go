package builder

import (
	"archive/tar"
	"bufio"
	"context"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/k8snode/k8snode/builder/layerfs"
	"github.com/k8snode/k8snode/builder/rootfs"
	"github.com/k8snode/k8snode/builder/source"
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
			return files, b.packEntries(ctx, file, entries)
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
func (b *build) openLayers(ctx context.Context, p parts, img image) ([]*layerfs.Layer, error) {
	agent, err := tree.FromFile(tree.Clean(images.AgentPath), b.o.Agent, 0o755)
	if err != nil {
		return nil, err
	}
	top := filepath.Join(img.work, "layer")
	if err := b.packEntries(ctx, top, append([]tree.Entry{agent}, b.plan.Entries...)); err != nil {
		return nil, err
	}
	var layers []*layerfs.Layer
	for _, name := range append(p.layers[:len(p.layers):len(p.layers)], top) {
		l, err := layerfs.Open(name)
		if err != nil {
			return layers, err
		}
		layers = append(layers, l)
	}
	return layers, nil
}

func closeLayers(layers []*layerfs.Layer) {
	for _, l := range layers {
		l.Close() //nolint:errcheck // it was only read
	}
}

// packBase packs the packages' files without those that lie over them.
func (b *build) packBase(ctx context.Context, dst, base string) error {
	over := map[string]bool{}
	for _, p := range b.plan.over() {
		over[p] = true
	}
	keep := func(p string) bool {
		for d := p; d != "."; d = path.Dir(d) {
			if over[d] {
				return false
			}
		}
		return rootfs.Keep(p)
	}
	f, err := os.Open(base)
	if err != nil {
		return err
	}
	defer f.Close()
	return b.pack(ctx, dst, func(w io.Writer) error {
		return tree.Overlay(w, f, nil, keep, b.plan.Recipe.Spec.Epoch)
	})
}

func (b *build) packEntries(ctx context.Context, dst string, entries []tree.Entry) error {
	t, err := tree.New(entries)
	if err != nil {
		return err
	}
	return b.pack(ctx, dst, func(w io.Writer) error {
		archive := tar.NewWriter(w)
		if err := t.WriteTar(archive, b.plan.Recipe.Spec.Epoch); err != nil {
			return err
		}
		return archive.Close()
	})
}

// pack packs the archive that write writes.
func (b *build) pack(ctx context.Context, dst string, write func(io.Writer) error) error {
	out, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer out.Close()
	r, w := io.Pipe()
	written := make(chan struct{})
	go func() {
		defer close(written)
		w.CloseWithError(write(w))
	}()
	buffered := bufio.NewWriterSize(out, 1<<20)
	err = layerfs.Pack(ctx, buffered, r, layerfs.PackOptions{Level: b.plan.Recipe.Spec.Disk.CompressionLevel, Jobs: b.o.Jobs})
	r.CloseWithError(io.ErrClosedPipe)
	<-written
	if err != nil {
		return err
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	return out.Close()
}
