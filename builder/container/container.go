package container

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/tree"
	"github.com/k8snode/k8snode/images"
)

// Options are the inputs of [Build].
type Options struct {
	Container images.Container
	// Program is the path of the program's file, Debs those of the packages.
	Program string
	Debs    []string
	Epoch   time.Time
	// Work is a folder; the result is in it.
	Work string
	Env  []string
}

// Build makes the image and returns the path of its archive.
func Build(ctx context.Context, o Options) (string, error) {
	layer, err := o.layer(ctx)
	if err != nil {
		return "", fmt.Errorf("packing %s: %w", o.Container.Reference, err)
	}
	img, err := o.image(layer)
	if err != nil {
		return "", fmt.Errorf("building %s: %w", o.Container.Reference, err)
	}
	dir := filepath.Join(o.Work, "layout")
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", o.Container.Reference, err)
	}
	err = p.AppendImage(img, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}), layout.WithAnnotations(map[string]string{
		"io.containerd.image.name":          o.Container.Reference,
		"org.opencontainers.image.ref.name": o.Container.Reference,
	}))
	if err != nil {
		return "", fmt.Errorf("writing %s: %w", o.Container.Reference, err)
	}
	if err := writeDockerManifest(filepath.Join(dir, dockerFile), o.Container.Reference, img); err != nil {
		return "", fmt.Errorf("writing %s: %w", o.Container.Reference, err)
	}
	out := filepath.Join(o.Work, "image.tar")
	if err := tarDir(out, dir, o.Epoch); err != nil {
		return "", fmt.Errorf("writing %s: %w", o.Container.Reference, err)
	}
	return out, os.RemoveAll(dir)
}

func writeDockerManifest(path, reference string, img v1.Image) error {
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	content, err := dockerManifest(reference, m)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

func (o Options) image(content []byte) (v1.Image, error) {
	layer, err := newLayer(content)
	if err != nil {
		return nil, err
	}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err = mutate.Append(img, mutate.Addendum{
		Layer:     layer,
		MediaType: types.OCILayerZStd,
		History:   v1.History{Created: v1.Time{Time: o.Epoch}, CreatedBy: "k8snode bake"},
	})
	if err != nil {
		return nil, err
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cfg = cfg.DeepCopy()
	cfg.Architecture, cfg.OS = "amd64", "linux"
	cfg.Created = v1.Time{Time: o.Epoch}
	cfg.Config = v1.Config{
		Entrypoint: o.Container.Entrypoint,
		User:       o.Container.User,
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		WorkingDir: "/",
	}
	if len(cfg.Config.Entrypoint) == 0 {
		cfg.Config.Entrypoint = []string{o.Container.Path}
	}
	return mutate.ConfigFile(img, cfg)
}

// layer returns the tar archive of the image's only layer.
func (o Options) layer(ctx context.Context) ([]byte, error) {
	entries := map[string]tree.Entry{}
	if len(o.Debs) > 0 {
		// The packages of a merged root hold nothing at these names.
		for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
			entries[dir] = tree.Entry{Path: dir, Kind: tree.Symlink, Target: "usr/" + dir}
		}
		entries["usr/lib64"] = tree.Entry{Path: "usr/lib64", Kind: tree.Dir, Mode: 0o755}
	}
	for _, deb := range o.Debs {
		files, err := source.Contents(ctx, deb, o.Env)
		if err != nil {
			return nil, err
		}
		if err := collect(entries, files); err != nil {
			return nil, fmt.Errorf("reading package %q: %w", filepath.Base(deb), err)
		}
	}
	for from, to := range o.Container.Links {
		p := tree.Clean(from)
		entries[p] = tree.Entry{Path: p, Kind: tree.Symlink, Target: to}
	}
	program, err := os.ReadFile(o.Program)
	if err != nil {
		return nil, err
	}
	p := tree.Clean(o.Container.Path)
	entries[p] = tree.Entry{Path: p, Kind: tree.File, Mode: 0o755, Content: program}
	for _, dir := range []string{"etc", "tmp", "var", "run"} {
		if _, ok := entries[dir]; !ok {
			entries[dir] = tree.Entry{Path: dir, Kind: tree.Dir, Mode: 0o755}
		}
	}
	// A program may look up the user that it runs as.
	entries["etc/passwd"] = tree.Entry{Path: "etc/passwd", Kind: tree.File, Mode: 0o644,
		Content: []byte("root:x:0:0:root:/:/sbin/nologin\nnobody:x:65535:65535:nobody:/:/sbin/nologin\n")}
	list := make([]tree.Entry, 0, len(entries))
	for _, e := range entries {
		list = append(list, e)
	}
	t, err := tree.New(list)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	if err := t.WriteTar(w, o.Epoch); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// collect adds what a package's archive holds, without documentation but with
// licences.
func collect(entries map[string]tree.Entry, r *tar.Reader) error {
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		p := tree.Clean(h.Name)
		if p == "" || skip(p) {
			continue
		}
		e := tree.Entry{Path: p, Mode: h.FileInfo().Mode().Perm(), UID: h.Uid, GID: h.Gid}
		switch h.Typeflag {
		case tar.TypeDir:
			if old, ok := entries[p]; ok && old.Kind != tree.Dir {
				continue
			}
			e.Kind = tree.Dir
		case tar.TypeSymlink:
			e.Kind, e.Target = tree.Symlink, h.Linkname
		case tar.TypeReg:
			e.Kind = tree.File
			if e.Content, err = io.ReadAll(r); err != nil {
				return err
			}
		case tar.TypeLink:
			target, ok := entries[tree.Clean(h.Linkname)]
			if !ok {
				return fmt.Errorf("hard link /%s to a missing file", p)
			}
			e.Kind, e.Content = tree.File, target.Content
		default:
			return fmt.Errorf("/%s has the unexpected type %c", p, h.Typeflag)
		}
		entries[p] = e
	}
}

func skip(p string) bool {
	for _, dir := range []string{"usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/bug", "usr/share/doc-base", "etc/init.d"} {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			return true
		}
	}
	return strings.HasPrefix(p, "usr/share/doc/") && strings.Count(p, "/") > 2 && path.Base(p) != "copyright"
}

// tarDir packs the files of a folder, sorted.
func tarDir(dst, dir string, epoch time.Time) error {
	var names []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, p)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Sort(names)
	entries := make([]tree.Entry, 0, len(names))
	for _, n := range names {
		rel, err := filepath.Rel(dir, n)
		if err != nil {
			return err
		}
		e, err := tree.FromFile(filepath.ToSlash(rel), n, 0o644)
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	return writeTar(dst, entries, epoch)
}
