package container

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/k8snode/k8snode/builder/source"
)

// answerTime is how long a registry may take for a manifest, or to say how it
// wants to be asked.
const answerTime = 2 * time.Minute

// A Registry resolves and pulls images, without a login.
type Registry struct {
	// HTTP fetches the parts of images. Its Mirrors apply to registries by
	// their keys without a scheme.
	HTTP source.HTTP
}

// Resolve returns what an image is pinned by, "registry/name@sha256:…". For a
// reference with a digest that is the digest; otherwise the registry is asked
// which one the tag has today. A tag that is not there is a
// [source.StatusError].
func (r Registry) Resolve(ctx context.Context, image string) (string, error) {
	if repository, digest, ok := strings.Cut(image, "@"); ok {
		return untagged(repository) + "@" + digest, nil
	}
	if r.HTTP.Offline {
		return "", fmt.Errorf("locking %s: %w", image, source.ErrOffline)
	}
	ref, err := r.reference(image)
	if err != nil {
		return "", fmt.Errorf("locking %s: %w", image, err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	desc, err := remote.Get(ref, remote.WithContext(ctx), remote.WithTransport(r.transport()))
	if err != nil {
		return "", fmt.Errorf("locking %s: %w", image, registryError(ref, err))
	}
	return untagged(image) + "@" + desc.Digest.String(), nil
}

// untagged cuts the tag off a reference; the colon of a port is before a slash.
func untagged(image string) string {
	if i := strings.LastIndexByte(image, ':'); i > strings.LastIndexByte(image, '/') {
		return image[:i]
	}
	return image
}

// reference returns where an image is asked for, which may be a mirror.
func (r Registry) reference(image string) (name.Reference, error) {
	at := source.Mirror(r.HTTP.Mirrors, image)
	var options []name.Option
	if rest, ok := strings.CutPrefix(at, "http://"); ok {
		at, options = rest, append(options, name.Insecure)
	}
	return name.ParseReference(strings.TrimPrefix(at, "https://"), append(options, name.StrictValidation)...)
}

func (r Registry) client() http.Client {
	if r.HTTP.Client == nil {
		return http.Client{}
	}
	return *r.HTTP.Client
}

func (r Registry) transport() http.RoundTripper {
	if t := r.client().Transport; t != nil {
		return t
	}
	return http.DefaultTransport
}

// registryError turns an answer of a registry into the error that callers tell
// apart.
func registryError(ref name.Reference, err error) error {
	var answer *transport.Error
	if errors.As(err, &answer) {
		status := &source.StatusError{URL: ref.String(), Code: answer.StatusCode}
		if text := strings.Join(strings.Fields(answer.Error()), " "); text != "" {
			return fmt.Errorf("%w (%s)", status, text)
		}
		return status
	}
	return fmt.Errorf("asking %s: %w; check the network, or name another mirror in the recipe", ref.Context().RegistryStr(), err)
}

// Source is the image that is pinned by "registry/name@sha256:…".
func (r Registry) Source(pinned string) source.Source { return imageSource{r, pinned} }

type imageSource struct {
	registry Registry
	pinned   string
}

func (s imageSource) Name() string { return s.pinned }

func (s imageSource) Fetch(ctx context.Context, c source.Cache) error {
	return s.registry.Fetch(ctx, c, s.pinned)
}

// Fetch brings every part of a pinned image into the cache, each by its own
// digest. No socket is opened for what is there.
func (r Registry) Fetch(ctx context.Context, c source.Cache, pinned string) error {
	repository, digest, err := splitPinned(pinned)
	if err != nil {
		return fmt.Errorf("fetching %s: %w", pinned, err)
	}
	p := &pull{registry: r, cache: c, repository: repository}
	if _, err := walk(ctx, c, digest, p); err != nil {
		return fmt.Errorf("fetching %s: %w", pinned, err)
	}
	return nil
}

func splitPinned(pinned string) (repository string, digest v1.Hash, err error) {
	repository, text, ok := strings.Cut(pinned, "@")
	if !ok {
		return "", v1.Hash{}, errors.New("it is not pinned by a digest; lock first")
	}
	digest, err = v1.NewHash(text)
	return repository, digest, err
}

// pull brings the parts of one image from its registry.
type pull struct {
	registry   Registry
	cache      source.Cache
	repository string
	// client is logged in, once it is needed.
	client *http.Client
}

func (p *pull) manifest(ctx context.Context, digest v1.Hash) error {
	if p.registry.HTTP.Offline {
		return source.ErrOffline
	}
	ref, err := p.registry.reference(p.repository + "@" + digest.String())
	if err != nil {
		return err
	}
	_, err = p.cache.Fetch(ctx, "manifest "+digest.String(), digest.Hex, func(ctx context.Context) (io.ReadCloser, error) {
		ctx, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		desc, err := remote.Get(ref, remote.WithContext(ctx), remote.WithTransport(p.registry.transport()))
		if err != nil {
			return nil, registryError(ref, err)
		}
		return io.NopCloser(bytes.NewReader(desc.Manifest)), nil
	})
	return err
}

func (p *pull) part(ctx context.Context, desc v1.Descriptor) error {
	h := p.registry.HTTP
	if h.Offline {
		return source.ErrOffline
	}
	ref, err := p.registry.reference(p.repository + "@" + desc.Digest.String())
	if err != nil {
		return err
	}
	repo := ref.Context()
	if p.client == nil {
		if p.client, err = p.login(ctx, repo); err != nil {
			return registryError(ref, err)
		}
	}
	h.Client, h.Mirrors = p.client, nil
	_, err = h.Fetch(ctx, p.cache, source.File{
		Name:   fmt.Sprintf("%s@%.19s", p.repository, desc.Digest),
		URL:    fmt.Sprintf("%s://%s/v2/%s/blobs/%s", repo.Scheme(), repo.RegistryStr(), repo.RepositoryStr(), desc.Digest),
		SHA256: desc.Digest.Hex, Size: desc.Size,
	})
	return err
}

// login returns a client that sends what the registry wants to see, which for
// a public one is an anonymous token.
func (p *pull) login(ctx context.Context, repo name.Repository) (*http.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	t, err := transport.NewWithContext(ctx, repo.Registry, authn.Anonymous, p.registry.transport(), []string{repo.Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	client := p.registry.client()
	client.Transport = t
	return &client, nil
}
