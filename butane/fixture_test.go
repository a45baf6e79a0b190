package butane_test

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/provision/api"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const sshKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb operator"

// routed is a cluster of a network with everything: gateway, DNS, NTP, keys.
func routed() cluster.Cluster {
	return cluster.Cluster{
		APIVersion: cluster.APIVersion,
		Kind:       cluster.Kind,
		Metadata:   cluster.Metadata{Name: "demo"},
		Spec: cluster.Spec{
			Kubernetes: cluster.Kubernetes{
				Version:   "v1.37.2",
				APIServer: cluster.APIServer{CertSANs: []string{"192.0.2.5"}},
			},
			Endpoint: cluster.Endpoint{Name: "api.demo.example"},
			Network: cluster.Network{
				Gateway: "192.168.7.1",
				DNS:     []string{"192.168.7.2", "192.168.7.3"},
				NTP:     []string{"ntp1.example", "192.168.7.4"},
			},
			Provision: cluster.Provision{Address: "192.168.7.1"},
			Runtime: cluster.Runtime{Registries: []cluster.Registry{
				{Host: "registry.example:5000", CA: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"},
				{Host: "docker.io", Mirrors: []string{"https://mirror.example", "http://192.0.2.9:5000"}},
				{Host: "192.0.2.8", Insecure: true},
			}},
			SSHAuthorizedKeys: []string{sshKey},
			Nodes: []cluster.Node{
				{Name: "cp1", Role: cluster.ControlPlane, MAC: "52:54:00:00:00:11", Address: "192.168.7.11/24"},
				{Name: "w1", Role: cluster.Worker, MAC: "52:54:00:00:00:21", Address: "192.168.7.21/24"},
				{Name: "w2", Role: cluster.Worker, MAC: "52:54:00:00:00:22", Address: "192.168.7.22/24"},
			},
		},
	}.Default()
}

// isolated is one machine alone, with a pod network of the operator's choice.
func isolated() cluster.Cluster {
	c := routed()
	c.Metadata.Name = "alone"
	c.Spec.Network = cluster.Network{CNI: cluster.CNINone}
	c.Spec.Provision = cluster.Provision{}
	c.Spec.SSHAuthorizedKeys = nil
	c.Spec.Kubernetes.APIServer.CertSANs = nil
	c.Spec.Kubernetes.Proxy.Mode = cluster.ProxyIPTables
	c.Spec.Etcd.QuotaGiB = 2
	c.Spec.Nodes = c.Spec.Nodes[:1]
	return c
}

// three has three control planes.
func three() cluster.Cluster {
	c := routed()
	for i := range c.Spec.Nodes {
		c.Spec.Nodes[i].Role = cluster.ControlPlane
	}
	return c
}

// guide is the cluster of the guide: bonds, VRRP, docker, and every option.
func guide(t *testing.T) cluster.Cluster {
	t.Helper()
	const file = "cluster/testdata/valid-ha.yaml"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Parse(file, data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newBundle(t testing.TB) pki.Bundle {
	t.Helper()
	b, err := pki.New(pki.Options{Now: now.AddDate(0, -1, 0), Rand: rand.NewChaCha8([32]byte{1})})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func newInput(t testing.TB, c cluster.Cluster, node string) butane.Input {
	t.Helper()
	b := newBundle(t)
	return butane.Input{
		Cluster: c,
		Node:    node,
		Bundle:  b,
		Report: api.ReportConfig{
			Node:   node,
			Server: "https://192.168.7.1:8443",
			CA:     b.Provision.Certificate,
			Token:  "cmVwb3J0",
		},
		Now:  now,
		Rand: rand.NewChaCha8([32]byte{2}),
	}
}

func generate(t testing.TB, in butane.Input) butane.Document {
	t.Helper()
	d, err := butane.Generate(in)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
