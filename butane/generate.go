package butane

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/provision/api"
)

// Input is all that a node's document depends on.
type Input struct {
	// Cluster is valid and has its defaults.
	Cluster cluster.Cluster
	// Node is the name of one of its nodes.
	Node   string
	Bundle pki.Bundle
	// Report lets the node report; its Node is Node.
	Report api.ReportConfig
	// Now is the moment of delivery: certificates begin to age.
	Now time.Time
	// Rand is the source of keys, crypto/rand.Reader outside of tests.
	Rand io.Reader
	// Manifests are the contents of the files that the cluster names, in its
	// order.
	Manifests [][]byte
	// JoinValidity is the life of the join credential, by default
	// pki.DefaultJoinValidity. It covers the first boot with its retries.
	JoinValidity time.Duration
	// GenesisUntil is set for the one control plane that may start an empty
	// etcd cluster, until then. Zero for all others, and for all once the
	// cluster exists.
	GenesisUntil time.Time
	// KeepEtcd keeps the data of the member that an earlier installation left on
	// the disk; without any, the file system is made.
	KeepEtcd bool
}

// Generate computes the document of one node.
func Generate(in Input) (Document, error) {
	d, err := generate(in)
	if err != nil {
		return Document{}, fmt.Errorf("generating the document of node %q: %w", in.Node, err)
	}
	return d, nil
}

func generate(in Input) (Document, error) {
	// 1. Find the node, and refuse what cannot become one.
	n, err := newNode(in)
	if err != nil {
		return Document{}, err
	}

	// 2. Every group of files comes from one function.
	var files []File
	for _, group := range []func(node) ([]File, error){
		identityFiles,
		linkFiles,
		networkFiles,
		podNetworkFiles,
		firewallFiles,
		loginFiles,
		etcdFiles,
		authorityFiles,
		kubeadmFiles,
		apiServerFiles,
		discoveryFiles,
		haFiles,
		runtimeFiles,
		systemFiles,
		manifestFiles,
	} {
		more, err := group(n)
		if err != nil {
			return Document{}, err
		}
		files = append(files, more...)
	}
	slices.SortFunc(files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	for i := 1; i < len(files); i++ {
		if files[i].Path == files[i-1].Path {
			return Document{}, fmt.Errorf("spec.system.files has %s, which k8snode writes itself", files[i].Path)
		}
	}

	// 3. Disks, folders, users and units do not depend on secrets.
	units, err := units(n)
	if err != nil {
		return Document{}, err
	}
	return Document{
		Variant: Variant,
		Version: Version,
		Passwd:  users(n),
		Storage: Storage{
			Disks:       disks(n),
			Filesystems: filesystems(n),
			Directories: directories(n),
			Files:       files,
		},
		Systemd: Systemd{Units: units},
	}, nil
}

// A node is an Input with the node that it is about; n.Node is the latter.
type node struct {
	Input
	cluster.Node
	spec cluster.Spec
}

func newNode(in Input) (node, error) {
	self, ok := in.Cluster.Node(in.Node)
	if !ok {
		return node{}, fmt.Errorf("cluster %q has no such node", in.Cluster.Metadata.Name)
	}
	if self.HardwareAddr() == nil || !self.Prefix().IsValid() {
		return node{}, fmt.Errorf("MAC %q or address %q is not valid; validate the cluster first", self.MAC, self.Address)
	}
	if err := in.Bundle.Validate(); err != nil {
		return node{}, fmt.Errorf("secrets: %w", err)
	}
	switch {
	case in.Now.IsZero() || in.Rand == nil:
		return node{}, errors.New("internal error: no time or no source of randomness given")
	case in.Report.Node != in.Node:
		return node{}, fmt.Errorf("report configuration is that of node %q", in.Report.Node)
	case in.Report.Server == "" || in.Report.CA == "" || in.Report.Token == "":
		return node{}, errors.New("report configuration lacks server, authority or token")
	case in.GenesisUntil.IsZero():
	case self.Role != cluster.ControlPlane:
		return node{}, errors.New("a worker cannot start the etcd cluster")
	case !in.GenesisUntil.After(in.Now):
		return node{}, fmt.Errorf("the time to start the etcd cluster ended %s", in.GenesisUntil.UTC().Format(time.RFC3339))
	}
	return node{Input: in, Node: self, spec: in.Cluster.Spec}, nil
}

func (n node) controlPlane() bool { return n.Role == cluster.ControlPlane }

// mint returns the options of certificates whose life is the cluster's.
func (n node) mint() pki.Options {
	return pki.Options{Now: n.Now, Rand: n.Rand, Validity: time.Duration(n.spec.Kubernetes.CertificateValidity)}
}

// file returns a file of root with that content.
func file(path string, mode Mode, content string) File {
	return File{Path: path, Overwrite: true, Mode: mode, Contents: Contents{Inline: content}}
}
