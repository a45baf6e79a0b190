package cli

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/ignition"
	"github.com/k8snode/k8snode/ignition/check"
	"github.com/k8snode/k8snode/ignition/render"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/api"
)

// genesisWindow is how long after the delivery of its config the one control
// plane may start an empty etcd cluster: the time of a slow first boot.
const genesisWindow = 2 * time.Hour

// nodeConfigs makes the configs of a cluster's nodes for one image.
type nodeConfigs struct {
	cluster  cluster.Cluster
	bundle   pki.Bundle
	manifest images.Manifest
	env      Env
}

// node returns the Butane document of a node and the Ignition config that it
// becomes, checked against the Ignition in the image. Every call mints new
// certificates.
func (n nodeConfigs) node(name, reportToken string) ([]byte, ignition.Config, error) {
	now := n.env.Now()
	in := butane.Input{
		Cluster: n.cluster, Node: name, Bundle: n.bundle, Now: now, Rand: n.env.Rand,
		Report: api.ReportConfig{Node: name, Server: n.tlsURL(), CA: n.bundle.Provision.Certificate, Token: reportToken},
	}
	if node, ok := n.cluster.Node(name); ok && node.Role == cluster.ControlPlane {
		in.GenesisUntil = now.Add(genesisWindow)
	}
	doc, err := butane.Generate(in)
	if err != nil {
		return nil, ignition.Config{}, fmt.Errorf("generating the config of %s: %w", name, err)
	}
	text, err := doc.Marshal()
	if err != nil {
		return nil, ignition.Config{}, err
	}
	config, err := render.Render(name+".bu", text)
	if err != nil {
		return nil, ignition.Config{}, fmt.Errorf("rendering the config of %s: %w", name, err)
	}
	if err := check.Check(config.Bytes(), n.manifest.Ignition.MaxSpec); err != nil {
		return nil, ignition.Config{}, fmt.Errorf("checking the config of %s against Ignition %s: %w", name, n.manifest.Ignition.Version, err)
	}
	return text, config, nil
}

func (n nodeConfigs) httpURL() string {
	return "http://" + n.hostPort(n.cluster.Spec.Provision.HTTPPort)
}

func (n nodeConfigs) tlsURL() string {
	return "https://" + n.hostPort(n.cluster.Spec.Provision.TLSPort)
}

func (n nodeConfigs) hostPort(port int) string {
	return net.JoinHostPort(n.cluster.Spec.Provision.Address, strconv.Itoa(port))
}

// readManifest reads the manifest of a baked image and checks that the image
// fits the cluster.
func readManifest(dir string, c cluster.Cluster) (images.Manifest, error) {
	m, err := images.OpenManifest(dir)
	if err != nil {
		return images.Manifest{}, err
	}
	if m.Kubernetes != c.Spec.Kubernetes.Version {
		return images.Manifest{}, fmt.Errorf("the image in %s has Kubernetes %s, the cluster document asks for %s: correct spec.kubernetes.version, or bake another image",
			dir, m.Kubernetes, c.Spec.Kubernetes.Version)
	}
	return m, nil
}
