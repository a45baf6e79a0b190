package container

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
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
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/builder/tree"
)

// maxManifest is the size of a manifest that registries accept.
const maxManifest = 4 << 20

// platform is the one of every node.
var platform = v1.Platform{OS: "linux", Architecture: "amd64"} //nolint:gochecknoglobals // a constant

// parts brings the parts of one image into the cache, when they are not there.
type parts interface {
	// manifest brings the manifest or index with a digest.
	manifest(ctx context.Context, digest v1.Hash) error
	// part brings a config or layer.
	part(ctx context.Context, desc v1.Descriptor) error
}

// image is one platform's image, all of which is in the cache.
type image struct {
	manifest v1.Descriptor
	// parts are the config and the layers.
	parts []v1.Descriptor
}

// walk brings all of an image into the cache, from the digest that pins it
// down, and returns the image for our platform.
func walk(ctx context.Context, c source.Cache, digest v1.Hash, from parts) (image, error) {
	raw, err := readManifest(ctx, c, digest, from)
	if err != nil {
		return image{}, err
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return image{}, fmt.Errorf("reading manifest %s: %w", digest, err)
	}
	if len(index.Manifests) > 0 {
		if digest, err = choose(index.Manifests); err != nil {
			return image{}, err
		}
		if raw, err = readManifest(ctx, c, digest, from); err != nil {
			return image{}, err
		}
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return image{}, fmt.Errorf("reading manifest %s: %w", digest, err)
	}
	if m.Config.Digest.Hex == "" || !m.Config.MediaType.IsConfig() {
		return image{}, fmt.Errorf("manifest %s is not the one of a container image, but has a config of type %q", digest, m.Config.MediaType)
	}
	mediaType := m.MediaType
	if mediaType == "" {
		mediaType = types.OCIManifestSchema1
	}
	img := image{
		manifest: v1.Descriptor{MediaType: mediaType, Size: int64(len(raw)), Digest: digest},
		parts:    append([]v1.Descriptor{m.Config}, m.Layers...),
	}
	for _, desc := range img.parts {
		if desc.Digest.Algorithm != "sha256" {
			return image{}, fmt.Errorf("manifest %s names a part by %q, which is not a SHA-256 digest", digest, desc.Digest)
		}
		if !desc.MediaType.IsDistributable() {
			return image{}, fmt.Errorf("layer %s is of type %s, which registries do not hold", desc.Digest, desc.MediaType)
		}
		if c.Has(desc.Digest.Hex) {
			continue
		}
		if err := from.part(ctx, desc); err != nil {
			return image{}, err
		}
	}
	return img, checkPlatform(c, m.Config)
}

// readManifest returns a manifest, which it brings if it is not in the cache.
func readManifest(ctx context.Context, c source.Cache, digest v1.Hash, from parts) ([]byte, error) {
	if digest.Algorithm != "sha256" {
		return nil, fmt.Errorf("manifest %s is not named by a SHA-256 digest", digest)
	}
	if !c.Has(digest.Hex) {
		if err := from.manifest(ctx, digest); err != nil {
			return nil, err
		}
	}
	return readCached(c, digest.Hex)
}

func readCached(c source.Cache, digest string) ([]byte, error) {
	r, err := c.Open(digest)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, maxManifest+1))
	if err == nil && len(raw) > maxManifest {
		err = fmt.Errorf("manifest sha256:%s is larger than %d MiB", digest, maxManifest>>20)
	}
	return raw, err
}

// choose returns the image of an index that is for our platform; the one of a
// single image need not say for which it is.
func choose(manifests []v1.Descriptor) (v1.Hash, error) {
	var have []string
	for _, m := range manifests {
		switch {
		case m.Platform == nil && len(manifests) == 1:
			return m.Digest, nil
		case m.Platform == nil:
		case m.Platform.OS == platform.OS && m.Platform.Architecture == platform.Architecture:
			return m.Digest, nil
		// What is attached to an image, such as its provenance, is for none.
		case m.Platform.OS != "unknown":
			have = append(have, m.Platform.String())
		}
	}
	slices.Sort(have)
	return v1.Hash{}, fmt.Errorf("the image is not for %s, but for %s", platform.String(), strings.Join(slices.Compact(have), ", "))
}

// checkPlatform checks what the image says itself.
func checkPlatform(c source.Cache, desc v1.Descriptor) error {
	raw, err := readCached(c, desc.Digest.Hex)
	if err != nil {
		return err
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("reading config %s: %w", desc.Digest, err)
	}
	if config.OS != platform.OS || config.Architecture != platform.Architecture {
		return fmt.Errorf("the image is not for %s, but for %s/%s", platform.String(), config.OS, config.Architecture)
	}
	return nil
}

// PackOptions are the inputs of [Pack].
type PackOptions struct {
	// Reference is the full name with tag that the image gets.
	Reference string
	// Digest pins the image, "sha256:…".
	Digest string
	Epoch  time.Time
	// Work is a folder; the result is in it.
	Work string
}

// Pack makes the archive of an image that [Registry.Fetch] or [Import] has
// brought into the cache, in the form of that of [Build], and returns its
// path. It opens no sockets.
func Pack(ctx context.Context, c source.Cache, o PackOptions) (string, error) {
	out, err := pack(ctx, c, o)
	if err != nil {
		return "", fmt.Errorf("packing %s: %w", o.Reference, err)
	}
	return out, nil
}

func pack(ctx context.Context, c source.Cache, o PackOptions) (string, error) {
	digest, err := v1.NewHash(o.Digest)
	if err != nil {
		return "", err
	}
	img, err := walk(ctx, c, digest, noParts{})
	if err != nil {
		return "", err
	}
	img.manifest.Platform = platform.DeepCopy()
	img.manifest.Annotations = map[string]string{
		"io.containerd.image.name":          o.Reference,
		"org.opencontainers.image.ref.name": o.Reference,
	}
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{img.manifest}})
	if err != nil {
		return "", err
	}
	docker, err := dockerManifest(o.Reference, &v1.Manifest{Config: img.parts[0], Layers: img.parts[1:]})
	if err != nil {
		return "", err
	}
	entries := []tree.Entry{
		{Path: dockerFile, Kind: tree.File, Mode: 0o644, Content: docker},
		{Path: "oci-layout", Kind: tree.File, Mode: 0o644, Content: []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{Path: "index.json", Kind: tree.File, Mode: 0o644, Content: index},
	}
	// Two layers may be the same.
	digests := map[string]bool{}
	for _, desc := range append([]v1.Descriptor{img.manifest}, img.parts...) {
		if digests[desc.Digest.Hex] {
			continue
		}
		digests[desc.Digest.Hex] = true
		e, err := tree.FromFile(blob(desc.Digest), c.Path(desc.Digest.Hex), 0o644)
		if err != nil {
			return "", err
		}
		e.Open = func() (io.ReadCloser, error) { return c.Open(desc.Digest.Hex) }
		entries = append(entries, e)
	}
	out := filepath.Join(o.Work, "image.tar")
	return out, writeTar(out, entries, o.Epoch)
}

// writeTar writes entries, sorted, as a tar archive.
func writeTar(dst string, entries []tree.Entry, epoch time.Time) error {
	t, err := tree.New(entries)
	if err != nil {
		return err
	}
	f, err := os.Create(dst)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	if err := t.WriteTar(w, epoch); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}

// noParts brings nothing.
type noParts struct{}

var errNotFetched = errors.New("it is not in the cache: fetch first")

func (noParts) manifest(_ context.Context, digest v1.Hash) error {
	return fmt.Errorf("manifest %s: %w", digest, errNotFetched)
}

func (noParts) part(_ context.Context, desc v1.Descriptor) error {
	return fmt.Errorf("part %s: %w", desc.Digest, errNotFetched)
}

// Import brings the only image of an OCI image layout, the folder dir of
// folder, into the cache, and returns the digest that pins it, "sha256:…".
func Import(ctx context.Context, c source.Cache, folder fs.FS, dir string) (string, error) {
	digest, err := importLayout(ctx, c, folder, dir)
	if err != nil {
		return "", fmt.Errorf("reading the image layout %q: %w", dir, err)
	}
	return digest, nil
}

func importLayout(ctx context.Context, c source.Cache, folder fs.FS, dir string) (string, error) {
	raw, err := fs.ReadFile(folder, path.Join(dir, "index.json"))
	if err != nil {
		return "", err
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return "", fmt.Errorf("reading index.json: %w", err)
	}
	if len(index.Manifests) != 1 {
		return "", fmt.Errorf("index.json names %d images; put one into the folder", len(index.Manifests))
	}
	digest := index.Manifests[0].Digest
	_, err = walk(ctx, c, digest, layoutParts{c, folder, dir})
	return digest.String(), err
}

// layoutParts brings parts from an OCI image layout.
type layoutParts struct {
	cache  source.Cache
	folder fs.FS
	dir    string
}

func (p layoutParts) manifest(ctx context.Context, digest v1.Hash) error { return p.bring(ctx, digest) }

func (p layoutParts) part(ctx context.Context, desc v1.Descriptor) error {
	return p.bring(ctx, desc.Digest)
}

func (p layoutParts) bring(ctx context.Context, digest v1.Hash) error {
	file := path.Join(p.dir, "blobs", digest.Algorithm, digest.Hex)
	_, err := p.cache.Fetch(ctx, file, digest.Hex, func(context.Context) (io.ReadCloser, error) { return p.folder.Open(file) })
	return err
}
