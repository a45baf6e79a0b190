package change

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/provision/api"
)

// An Effect is what has to happen for a change to be one. They are ordered.
type Effect int

// The effects.
const (
	// Nothing has to happen: the next installation has it.
	Nothing Effect = iota
	// File: whoever reads the file reads it anew each time.
	File
	// Restart: services of the node.
	Restart
	// Drain: services on which the node's pods depend.
	Drain
	// Reimage: the node is installed again.
	Reimage
	// Install: the node is new.
	Install
	// Remove: the node is no longer in the document.
	Remove
	// Rebuild: a running cluster cannot have it.
	Rebuild
)

// String returns the effect in lower case.
func (e Effect) String() string {
	return [...]string{"nothing", "file", "restart", "drain", "reimage", "install", "remove", "rebuild"}[e]
}

// MarshalText implements encoding.TextMarshaler.
func (e Effect) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// A Node is what a change means for one node.
type Node struct {
	Name   string       `json:"name"`
	Role   cluster.Role `json:"role"`
	Effect Effect       `json:"effect"`
	// Differences are sorted, the worst first.
	Differences []Difference `json:"differences"`
}

// A Difference is one thing that is not as it was.
type Difference struct {
	// What is a path, a unit, or a field of the document.
	What   string `json:"what"`
	Effect Effect `json:"effect"`
	// Services are those to restart.
	Services []string `json:"services,omitempty"`
	// Note says why, or what to look out for.
	Note string `json:"note,omitempty"`
}

// Compare returns what it takes to turn a cluster of one document into that of
// another. Nodes are in the order of the new document, those that are gone at
// the end. Both documents are valid and have their defaults.
func Compare(before, after cluster.Cluster) ([]Node, error) {
	nodes, err := compare(before, after)
	if err != nil {
		return nil, fmt.Errorf("comparing the documents: %w", err)
	}
	return nodes, nil
}

func compare(before, after cluster.Cluster) ([]Node, error) {
	fixed := fixedFields(before, after)
	var nodes []Node
	for _, n := range after.Spec.Nodes {
		old, existed := before.Node(n.Name)
		node := Node{Name: n.Name, Role: n.Role, Differences: []Difference{}}
		if !existed {
			node.Differences = []Difference{{What: "spec.nodes", Effect: Install}}
		} else {
			differences, err := differences(before, after, old, n)
			if err != nil {
				return nil, err
			}
			node.Differences = append(append(node.Differences, fixed...), differences...)
		}
		nodes = append(nodes, node.sorted())
	}
	for _, n := range before.Spec.Nodes {
		if _, stays := after.Node(n.Name); stays {
			continue
		}
		note := "drain it, then delete its Node"
		if n.Role == cluster.ControlPlane {
			note = "drain it, remove its etcd member, then delete its Node"
		}
		node := Node{Name: n.Name, Role: n.Role, Differences: []Difference{{What: "spec.nodes", Effect: Remove, Note: note}}}
		nodes = append(nodes, node.sorted())
	}
	return nodes, nil
}

func (n Node) sorted() Node {
	slices.SortStableFunc(n.Differences, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(b.Effect, a.Effect), cmp.Compare(a.What, b.What))
	})
	if len(n.Differences) > 0 {
		n.Effect = n.Differences[0].Effect
	}
	return n
}

// fixedFields are those that every certificate, kubeconfig or object of the
// cluster has in it.
func fixedFields(before, after cluster.Cluster) []Difference {
	var all []Difference
	for _, field := range []struct{ what, before, after, note string }{
		{"metadata.name", before.Metadata.Name, after.Metadata.Name, "it is another cluster"},
		{"spec.endpoint.name", before.Spec.Endpoint.Name, after.Spec.Endpoint.Name, "every certificate and kubeconfig has the old name"},
		{
			"spec.endpoint.port", fmt.Sprint(before.Spec.Endpoint.Port), fmt.Sprint(after.Spec.Endpoint.Port),
			"every kubeconfig has the old port",
		},
		{
			"spec.kubernetes.serviceSubnet", before.Spec.Kubernetes.ServiceSubnet, after.Spec.Kubernetes.ServiceSubnet,
			"services keep their addresses",
		},
		{"spec.kubernetes.dnsDomain", before.Spec.Kubernetes.DNSDomain, after.Spec.Kubernetes.DNSDomain, "pods keep the old domain"},
		{"spec.kubernetes.podSubnet", before.Spec.Kubernetes.PodSubnet, after.Spec.Kubernetes.PodSubnet, "Nodes keep their prefixes"},
	} {
		if field.before != field.after {
			all = append(all, Difference{What: field.what, Effect: Rebuild, Note: field.note})
		}
	}
	return all
}

// differences compares the documents of a node that is in both.
func differences(before, after cluster.Cluster, old, n cluster.Node) ([]Difference, error) {
	if old.Role != n.Role {
		return []Difference{{What: "role", Effect: Reimage, Note: "remove the node as what it was first"}}, nil
	}
	a, err := document(before, n.Name)
	if err != nil {
		return nil, err
	}
	b, err := document(after, n.Name)
	if err != nil {
		return nil, err
	}
	var all []Difference
	all = append(all, files(a, b)...)
	all = append(all, units(a, b)...)
	all = append(all, storage(a, b)...)
	if old.Address != n.Address {
		all = append(all, Difference{What: "address", Effect: Reimage, Note: "it is in certificates, and in etcd's list of members"})
	}
	if old.MAC != n.MAC || old.Disk != n.Disk {
		all = append(all, Difference{What: "mac, disk", Effect: Nothing, Note: "they matter when the node is installed"})
	}
	return all, nil
}

// ones is a source of bytes for secrets that are none.
type ones struct{}

func (ones) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 1
	}
	return len(p), nil
}

// document generates with secrets of nobody: the same for both versions.
func document(c cluster.Cluster, name string) (butane.Document, error) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	bundle, err := pki.New(pki.Options{Now: now, Rand: ones{}, Validity: 1 << 62})
	if err != nil {
		return butane.Document{}, err
	}
	return butane.Generate(butane.Input{
		Cluster: c, Node: name, Bundle: bundle, Now: now, Rand: ones{},
		Report: api.ReportConfig{Node: name, Server: "https://" + c.Spec.Provision.Address, CA: bundle.Provision.Certificate, Token: "none"},
	})
}
