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

// Load reads a cluster document and its secrets. It asks for the passphrase
// only when both files are there and the document is valid.
func Load(clusterFile, secretsFile string, passphrase func() (string, error)) (cluster.Cluster, pki.Bundle, error) {
	data, err := os.ReadFile(clusterFile)
	if err != nil {
		return cluster.Cluster{}, pki.Bundle{}, fmt.Errorf("reading the cluster document: %w", err)
	}
	c, err := cluster.Parse(clusterFile, data)
	if err != nil {
		return cluster.Cluster{}, pki.Bundle{}, err
	}
	sealed, err := os.ReadFile(secretsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return cluster.Cluster{}, pki.Bundle{}, fmt.Errorf("reading the secrets: %w; make them with \"k8snode secrets init\"", err)
	}
	if err != nil {
		return cluster.Cluster{}, pki.Bundle{}, fmt.Errorf("reading the secrets: %w", err)
	}
	p, err := passphrase()
	if err != nil {
		return cluster.Cluster{}, pki.Bundle{}, err
	}
	b, err := pki.Open(bytes.NewReader(sealed), p)
	if err != nil {
		return cluster.Cluster{}, pki.Bundle{}, fmt.Errorf("reading %s: %w", secretsFile, err)
	}
	return c, b, nil
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
