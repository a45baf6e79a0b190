package builder

import (
	"context"
	"errors"
	"strings"

	"github.com/k8snode/k8snode/builder/container"
	"github.com/k8snode/k8snode/builder/source"
	"github.com/k8snode/k8snode/images"
)

// registry asks registries for a recipe.
func (o Options) registry(s images.Spec) container.Registry {
	return container.Registry{HTTP: o.http(s)}
}

// resolveImage pins a container image.
func (o Options) resolveImage(ctx context.Context, s images.Spec, name string) (Image, error) {
	pinned, err := o.registry(s).Resolve(ctx, name)
	return Image{Image: name, Pinned: pinned}, err
}

// missingImages returns the images of which the cache has not every part.
func (o Options) missingImages(ctx context.Context, s images.Spec, lock Lock) ([]Image, error) {
	o.Offline = true
	var missing []Image
	for _, i := range lock.Images {
		err := o.registry(s).Fetch(ctx, o.Cache, i.Pinned)
		switch {
		case errors.Is(err, source.ErrOffline):
			missing = append(missing, i)
		case err != nil:
			return nil, err
		}
	}
	return missing, nil
}

// tagged reports whether a registry may mean another image by the name some
// day.
func (i Image) tagged() bool { return !strings.Contains(i.Image, "@") }

// digest returns the part of the pin that says what is pinned.
func (i Image) digest() string {
	_, digest, _ := strings.Cut(i.Pinned, "@")
	return digest
}
