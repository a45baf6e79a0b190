package nodeconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/images"
)

// Unlock opens the sealed secrets of a file.
type Unlock func(file string, sealed []byte) (pki.Bundle, error)

// WithPassphrase opens them with a passphrase, which it asks for.
func WithPassphrase(ask func() (string, error)) Unlock {
	return func(file string, sealed []byte) (pki.Bundle, error) {
		p, err := ask()
		if err != nil {
			return pki.Bundle{}, err
		}
		b, err := pki.Open(bytes.NewReader(sealed), p)
		return b, named(file, err)
	}
}

// WithIdentity opens them with a private key: a file of age-keygen or of SSH.
func WithIdentity(identity string) Unlock {
	return func(file string, sealed []byte) (pki.Bundle, error) {
		identities, err := os.ReadFile(identity)
		if err != nil {
			return pki.Bundle{}, fmt.Errorf("reading the identity: %w", err)
		}
		b, err := pki.OpenWith(bytes.NewReader(sealed), identities)
		return b, named(file, err)
	}
}

func named(file string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("reading %s: %w", file, err)
}

// Load reads a cluster document and its secrets. It unlocks them only when both
// files are there and the document is valid.
func Load(clusterFile, secretsFile string, unlock Unlock) (cluster.Cluster, pki.Bundle, error) {
	data, err := os.ReadFile(clusterFile)
	if err != nil {
		return cluster.Cluster{}, pki.Bundle{}, fmt.Errorf("reading the cluster document: %w", err)
	}
	c, err := cluster.Parse(clusterFile, data)
	if err != nil {
		return cluster.Cluster{}, pki.Bundle{}, err
	}
	b, err := LoadSecrets(secretsFile, unlock)
	return c, b, err
}

// LoadSecrets reads the secrets of a cluster.
func LoadSecrets(file string, unlock Unlock) (pki.Bundle, error) {
	sealed, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return pki.Bundle{}, fmt.Errorf("reading the secrets: %w; make them with \"k8snode secrets init\"", err)
	}
	if err != nil {
		return pki.Bundle{}, fmt.Errorf("reading the secrets: %w", err)
	}
	if err := checkMode(file); err != nil {
		return pki.Bundle{}, fmt.Errorf("reading the secrets: %w", err)
	}
	return unlock(file, sealed)
}

// checkMode refuses a file that others can read: a passphrase can be guessed as
// often as somebody likes, where they have the file.
func checkMode(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s has the mode %04o, so others can use it: chmod 600 %s, and think about who has read it", file, mode, file)
	}
	return nil
}

// Manifests reads the files that a cluster document names, next to it, and
// checks that each holds objects of Kubernetes.
func Manifests(clusterFile string, c cluster.Cluster) ([][]byte, error) {
	var all [][]byte
	var problems []error
	for i, name := range c.Spec.Manifests {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(filepath.Dir(clusterFile), name)
		}
		content, err := os.ReadFile(path)
		if err == nil {
			err = butane.CheckManifest(content)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("reading spec.manifests[%d] of %s: %s: %w", i, clusterFile, path, err))
		}
		all = append(all, content)
	}
	return all, errors.Join(problems...)
}

// Fits checks that an image is one of the cluster's Kubernetes. The image is
// named in the error as it is given here.
func Fits(image string, m images.Manifest, c cluster.Cluster) error {
	have := m.Kubernetes
	if have == c.Spec.Kubernetes.Version {
		return nil
	}
	if have == "" {
		have = "no Kubernetes"
	} else {
		have = "Kubernetes " + have
	}
	return fmt.Errorf("%s has %s, the cluster document asks for %s: correct spec.kubernetes.version, or bake another image",
		image, have, c.Spec.Kubernetes.Version)
}

// OpenImage reads the manifest of a baked image that fits the cluster.
func OpenImage(dir string, c cluster.Cluster) (images.Manifest, error) {
	m, err := images.OpenManifest(dir)
	if err != nil {
		return images.Manifest{}, err
	}
	return m, Fits("the image in "+dir, m, c)
}
