package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/images/signature"
	"github.com/k8snode/k8snode/provision/api"
)

// A demand is what somebody wants an image to be signed with.
type demand struct {
	// who is for messages.
	who  string
	keys signature.Keys
}

// checkSignature sees that everybody who has keys finds the image of the plan
// signed with one of them.
func (in *installer) checkSignature(ctx context.Context, image api.InstallImage) error {
	in.step = "signature"
	demands, err := in.demands(image)
	if err != nil {
		return err
	}
	switch {
	case len(demands) == 0 && image.SignatureURL == "":
		in.say("image %s is not signed", image.ID)
		return nil
	case len(demands) == 0:
		in.say("image %s is signed, and there is no key to check that with", image.ID)
		return nil
	}
	manifest, sig, err := in.fetchSigned(ctx, image)
	if err != nil {
		return err
	}
	for _, d := range demands {
		who, err := d.keys.Check(manifest, sig)
		if err != nil {
			return fmt.Errorf("image %s is refused: %s wants it signed: %w; sign it with \"k8snode sign\" and publish it again", image.ID, d.who, err)
		}
		in.say("image %s is signed with the key %s, as %s wants", image.ID, who.KeyID, d.who)
	}
	if err := checkManifest(manifest, image); err != nil {
		return fmt.Errorf("image %s is refused: %w", image.ID, err)
	}
	return nil
}

// demands are those of the server, which come with the plan, and those that were
// baked into the initramfs, which no server can take back.
func (in *installer) demands(image api.InstallImage) ([]demand, error) {
	var all []demand
	if len(image.Keys) > 0 {
		d := demand{who: "the server"}
		for _, line := range image.Keys {
			k, err := signature.ParseKey(line)
			if err != nil {
				return nil, fmt.Errorf("reading the keys of the plan: %q is %w", line, err)
			}
			d.keys = d.keys.With(k)
		}
		all = append(all, d)
	}
	text, err := os.ReadFile(filepath.Join("/", in.opts.Root, images.ImageKeysPath))
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the keys of the initramfs: %w", err)
	}
	// A file without keys is damaged: it was made for one.
	keys, err := signature.ParseKeys(images.ImageKeysPath, text)
	if err != nil {
		return nil, err
	}
	return append(all, demand{who: "the initramfs", keys: keys}), nil
}

// fetchSigned fetches the manifest and its signature; one that is not there is
// empty.
func (in *installer) fetchSigned(ctx context.Context, image api.InstallImage) (manifest, sig []byte, err error) {
	if image.ManifestURL == "" {
		return nil, nil, fmt.Errorf("image %s is refused: the plan does not say where its manifest is: the server is older than this initramfs", image.ID)
	}
	if manifest, err = in.download(ctx, image.ManifestURL, images.MaxManifest); err != nil {
		return nil, nil, fmt.Errorf("fetching manifest: %w", err)
	}
	if image.SignatureURL == "" {
		return manifest, nil, nil
	}
	if sig, err = in.download(ctx, image.SignatureURL, signature.MaxSize); err != nil {
		return nil, nil, fmt.Errorf("fetching signature: %w", err)
	}
	return manifest, sig, nil
}

// checkManifest sees that a manifest is that of the image in the plan: an older
// one is as well signed.
func checkManifest(text []byte, image api.InstallImage) error {
	m, err := images.ParseManifest(image.ManifestURL, text)
	if err != nil {
		return err
	}
	if m.ID != image.ID {
		return fmt.Errorf("the signed manifest is of image %s", m.ID)
	}
	blockMap, ok := m.Artifact(images.BlockMapFile)
	if !ok {
		return fmt.Errorf("the signed manifest has no %s", images.BlockMapFile)
	}
	if blockMap.SHA256 != image.BlockMapSHA256 {
		return fmt.Errorf("the signed manifest has a block map with sha256 %s, the plan has one with %s", blockMap.SHA256, image.BlockMapSHA256)
	}
	return nil
}

func (in *installer) download(ctx context.Context, url string, limit int64) (data []byte, err error) {
	err = retry.Do(ctx, in.opts.Retry, func(ctx context.Context) error {
		data, err = in.opts.Client.Download(ctx, url, limit)
		return err
	})
	return data, err
}
