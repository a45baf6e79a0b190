package nodeconfig

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/ignition"
	"github.com/k8snode/k8snode/ignition/check"
	"github.com/k8snode/k8snode/ignition/render"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/api"
)

// WithheldToken stands for the token with which a node reports, in configs that
// are rendered to be looked at.
const WithheldToken = "minted-at-delivery"

// genesisWindow is how long after the delivery of its config the first control
// plane may start an empty etcd cluster: the time of a slow first boot.
const genesisWindow = 2 * time.Hour

// Options say which config to render. All fields but Manifests, NewCluster
// and KeepEtcd are required.
type Options struct {
	Cluster cluster.Cluster
	Bundle  pki.Bundle
	// Image is the manifest of the image that will read the config.
	Image images.Manifest
	// Node is a name of the cluster document.
	Node string
	// ReportToken is the token with which the node reports.
	ReportToken string
	// Manifests are those of [Manifests].
	Manifests [][]byte
	// NewCluster lets the first control plane of the document begin an empty
	// etcd cluster, for a while, or the one that spec.etcd.restore names begin
	// one with a snapshot. It is for a cluster that does not exist: of one that
	// does, a second one could begin beside it.
	NewCluster bool
	// KeepEtcd keeps the etcd member of an earlier installation: it starts
	// again with its data, if the cluster still has it.
	KeepEtcd bool
	// Now and Rand are the clock, and a source of secret bytes.
	Now  time.Time
	Rand io.Reader
}

// A Config is the config of one node, as the Butane document that it was
// written as and as the Ignition config that the node reads. Both hold private
// keys.
type Config struct {
	Butane   []byte
	Ignition ignition.Config
}

// Render makes the config of a node, checked against the Ignition in the image.
func Render(o Options) (Config, error) {
	doc, err := document(o)
	if err != nil {
		return Config{}, err
	}
	return finish(o, doc)
}

// RenderAll makes the configs of several nodes, in their order; o.Node is
// ignored. It is Render for each, on all processors; the error is that of the
// first node that has one.
func RenderAll(o Options, nodes []string) ([]Config, error) {
	configs, problems := make([]Config, len(nodes)), make([]error, len(nodes))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range nodes {
		o.Node = name
		// Random bytes are taken in the order of the nodes; what follows is
		// long, and takes none.
		doc, err := document(o)
		if err != nil {
			problems[i] = err
			break
		}
		node := o
		group.Go(func() error {
			configs[i], problems[i] = finish(node, doc)
			return problems[i]
		})
	}
	_ = group.Wait() // Its error is among the problems.
	if i := slices.IndexFunc(problems, func(err error) bool { return err != nil }); i >= 0 {
		return nil, problems[i]
	}
	return configs, nil
}

func finish(o Options, doc butane.Document) (Config, error) {
	text, err := doc.Marshal()
	if err != nil {
		return Config{}, err
	}
	config, err := render.Render(o.Node+".bu", text)
	if err != nil {
		return Config{}, fmt.Errorf("rendering the config of %s: %w", o.Node, err)
	}
	if err := check.Check(config.Bytes(), o.Image.Ignition.MaxSpec); err != nil {
		return Config{}, fmt.Errorf("checking the config of %s against Ignition %s: %w", o.Node, o.Image.Ignition.Version, err)
	}
	return Config{Butane: text, Ignition: config}, nil
}

// Review makes the Butane document of a node without its secrets, to be read
// by people who must not have them. It is checked as that of Render is.
func Review(o Options) ([]byte, error) {
	if _, err := Render(o); err != nil {
		return nil, err
	}
	doc, err := document(o)
	if err != nil {
		return nil, err
	}
	return doc.Redact().Marshal()
}

func document(o Options) (butane.Document, error) {
	in := butane.Input{
		Cluster: o.Cluster, Node: o.Node, Bundle: o.Bundle, Manifests: o.Manifests, KeepEtcd: o.KeepEtcd, Now: o.Now, Rand: o.Rand,
		Report: api.ReportConfig{
			Node: o.Node, Server: TLSURL(o.Cluster), CA: o.Bundle.Provision.Certificate, Token: o.ReportToken,
		},
	}
	if o.NewCluster && beginner(o.Cluster) == o.Node {
		in.GenesisUntil = o.Now.Add(genesisWindow)
	}
	doc, err := butane.Generate(in)
	if err != nil {
		return butane.Document{}, fmt.Errorf("generating the config of %s: %w", o.Node, err)
	}
	return doc, nil
}

// beginner is the control plane that may begin etcd: the one that has a snapshot,
// or the first.
func beginner(c cluster.Cluster) string {
	if member := c.Spec.Etcd.Restore.Member; member != "" {
		return member
	}
	for _, n := range c.ControlPlanes() {
		return n.Name
	}
	return ""
}

// Renew answers a control plane that renews its certificates of etcd.
func Renew(o Options, request api.RenewRequest) (api.RenewAnswer, error) {
	certificates, err := butane.Renew(butane.RenewInput{
		Cluster: o.Cluster, Node: o.Node, Bundle: o.Bundle, Requests: request.Requests, Now: o.Now, Rand: o.Rand,
	})
	return api.RenewAnswer{Certificates: certificates}, err
}

// HTTPURL and TLSURL are the base URLs of a cluster's provisioning server.
func HTTPURL(c cluster.Cluster) string {
	return "http://" + HostPort(c, c.Spec.Provision.HTTPPort)
}

// TLSURL is where machines speak of secrets.
func TLSURL(c cluster.Cluster) string {
	return "https://" + HostPort(c, c.Spec.Provision.TLSPort)
}

// HostPort is a port of a cluster's provisioning server.
func HostPort(c cluster.Cluster, port int) string {
	return net.JoinHostPort(c.Spec.Provision.Address, strconv.Itoa(port))
}
