package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/operate"
	"github.com/k8snode/k8snode/operate/reimage"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
)

// Options say what is rolled out. Zero values are the defaults.
type Options struct {
	// Image is the ID of the image: the active one.
	Image string
	// Nodes are the only ones to install; all that have another image.
	Nodes []string
	// Batch is how many workers are installed at once: one.
	Batch int
	// KeepEtcd keeps the data of etcd on control planes.
	KeepEtcd bool
}

// A State is what a plan is made from.
type State struct {
	Cluster operate.Facts
	Nodes   []admin.Node
	Images  []admin.Image
}

// A Plan is a rollout, or what is left of it.
type Plan struct {
	Image admin.Image
	// Version is set when the image has another Kubernetes than some of the cluster.
	Version string
	// Batches of nodes that are installed at once, in their order.
	Batches [][]string
	// Done have the image.
	Done     []string
	KeepEtcd bool
	etcd     map[string]bool
}

// ErrSkew is wrapped when versions must not meet.
var ErrSkew = errors.New("the versions of Kubernetes must not meet")

// NewPlan plans to bring an image to nodes.
func NewPlan(c cluster.Cluster, s State, opts Options) (Plan, error) {
	p, err := newPlan(c, s, opts)
	if err != nil {
		return Plan{}, fmt.Errorf("planning an upgrade: %w", err)
	}
	return p, nil
}

func newPlan(c cluster.Cluster, s State, opts Options) (Plan, error) {
	image, err := choose(s.Images, opts.Image)
	if err != nil {
		return Plan{}, err
	}
	p := Plan{Image: image, KeepEtcd: opts.KeepEtcd, etcd: map[string]bool{}}
	for _, name := range opts.Nodes {
		if _, ok := c.Node(name); !ok {
			return Plan{}, fmt.Errorf("the cluster document has no node %s", name)
		}
	}
	if err := p.versions(s.Cluster); err != nil {
		return Plan{}, err
	}
	batch := max(opts.Batch, 1)
	var workers []string
	for _, n := range c.Spec.Nodes {
		if len(opts.Nodes) > 0 && !slices.Contains(opts.Nodes, n.Name) {
			continue
		}
		switch has, err := p.has(s.Nodes, n.Name); {
		case err != nil:
			return Plan{}, err
		case has:
			p.Done = append(p.Done, n.Name)
		case n.Role == cluster.ControlPlane:
			p.etcd[n.Name] = true
			p.Batches = append(p.Batches, []string{n.Name})
		default:
			workers = append(workers, n.Name)
		}
	}
	if len(workers) > 0 && p.Version != "" {
		if err := p.newerThanControlPlanes(c, s.Nodes); err != nil {
			return Plan{}, err
		}
	}
	for b := range slices.Chunk(workers, batch) {
		p.Batches = append(p.Batches, b)
	}
	return p, nil
}

func choose(all []admin.Image, id string) (admin.Image, error) {
	for _, i := range all {
		switch {
		case id == "" && !i.Active || id != "" && i.ID != id:
			continue
		case i.Upload != nil:
			return admin.Image{}, fmt.Errorf("image %s is not complete: publish it again", i.ID)
		}
		return i, nil
	}
	if id == "" {
		return admin.Image{}, errors.New("the server has no active image: k8snode images activate ID")
	}
	return admin.Image{}, fmt.Errorf("the server has no image %s: see k8snode images", id)
}

// has reports whether a node has the image, and nothing is under way with it.
func (p Plan) has(nodes []admin.Node, name string) (bool, error) {
	for _, n := range nodes {
		if n.Name == name {
			return n.Image == p.Image.ID && n.Phase == api.PhaseReady && n.Transaction == "", nil
		}
	}
	return false, fmt.Errorf("the provisioning server has no node %s; its document is another one, or it was not started again since", name)
}

// versions sees whether the image's Kubernetes may meet that of the cluster.
func (p *Plan) versions(f operate.Facts) error {
	if f.Version == "" {
		return errors.New("no API server answers")
	}
	have := []string{f.Version}
	for _, n := range f.Nodes {
		have = append(have, n.Version)
	}
	want := p.Image.Kubernetes
	if !semver.IsValid(want) {
		return fmt.Errorf("the image says that its Kubernetes is %q, which is no version", want)
	}
	for _, v := range have {
		if !semver.IsValid(v) {
			continue
		}
		if semver.Compare(v, want) != 0 {
			p.Version = want
		}
	}
	from, to := minor(f.Version), minor(want)
	switch {
	case from == "" || to == "" || semver.Major(f.Version) != semver.Major(want):
		return fmt.Errorf("%w: the cluster has %s, the image %s", ErrSkew, f.Version, want)
	case semver.Compare(semver.MajorMinor(want), semver.MajorMinor(f.Version)) < 0:
		return fmt.Errorf("%w: the cluster has %s, the image %s; an API server does not read what a newer one wrote", ErrSkew, f.Version, want)
	case !next(from, to):
		return fmt.Errorf("%w: the cluster has %s, the image %s; one minor version at a time", ErrSkew, f.Version, want)
	}
	return nil
}

// newerThanControlPlanes refuses to give workers what the control planes have not.
func (p Plan) newerThanControlPlanes(c cluster.Cluster, nodes []admin.Node) error {
	var old []string
	for _, n := range c.ControlPlanes() {
		if has, err := p.has(nodes, n.Name); err != nil {
			return err
		} else if !has && !p.etcd[n.Name] {
			old = append(old, n.Name)
		}
	}
	if len(old) == 0 {
		return nil
	}
	return fmt.Errorf("%w: a kubelet must not be newer than an API server, and %s would be older: upgrade control planes first", ErrSkew, strings.Join(old, ", "))
}

func minor(v string) string {
	_, m, _ := strings.Cut(semver.MajorMinor(v), ".")
	return m
}

// next reports whether to is from, or the number after it.
func next(from, to string) bool {
	var a, b int
	if _, err := fmt.Sscan(from+" "+to, &a, &b); err != nil {
		return false
	}
	return b == a || b == a+1
}

// Lines say the plan for people.
func (p Plan) Lines() []string {
	var lines []string
	if len(p.Batches) == 0 {
		return nil
	}
	if p.Version != "" {
		lines = append(lines, "have kubeadm install "+p.Version+" from now on", "have kube-proxy change to "+p.Version+" with its nodes")
	}
	for _, b := range p.Batches {
		text := "reimage " + strings.Join(b, ", ")
		if p.KeepEtcd && p.etcd[b[0]] {
			text += ", keeping the data of etcd"
		}
		lines = append(lines, text)
	}
	if p.Version != "" {
		lines = append(lines, "have kube-proxy update by itself again")
	}
	return lines
}

// Options are those of the reimage of a node.
func (p Plan) Options(node string, base reimage.Options) reimage.Options {
	base.Image = p.Image.ID
	base.KeepEtcd = p.KeepEtcd && p.etcd[node]
	return base
}
