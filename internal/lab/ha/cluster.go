package ha

import (
	"context"
	_ "embed" // for cluster.yaml
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/lab/kube"
	"github.com/k8snode/k8snode/internal/lab/umlkernel"
)

//go:embed cluster.yaml
var clusterDocument []byte

// A Cluster is a cluster of machines, whatever state it is in. Its methods may
// be called from several goroutines, for different machines.
type Cluster struct {
	// Kubectl asks the API servers, through the virtual address.
	Kubectl kube.Kubectl
	// Spec is the cluster document.
	Spec cluster.Cluster

	opts     Options
	manifest images.Manifest
	network  *lab.Network
	machines map[string]*lab.UML

	mu sync.Mutex
	// started has the machines that should run, and since when they do.
	started map[string]time.Time
	// firmware has those that boot from the network, server is what they ask.
	firmware map[string]*firmware
	server   *lab.Process
}

// New makes the machines of a cluster, all off. Close must be called.
func New(ctx context.Context, opts Options) (*Cluster, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("making a cluster: %w", err)
	}
	c := &Cluster{opts: opts, machines: map[string]*lab.UML{}, started: map[string]time.Time{}, firmware: map[string]*firmware{}}
	if err := c.make(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("making a cluster: %w", err), c.Close(ctx))
	}
	return c, nil
}

func (c *Cluster) make(ctx context.Context) error {
	if err := lab.NewWorkDir(c.opts.Dir); err != nil {
		return err
	}
	var err error
	if c.manifest, err = images.OpenManifest(c.opts.Image); err != nil {
		return err
	}
	// 1. What an operator writes, and what k8snode makes of it.
	if err := c.render(ctx); err != nil {
		return err
	}
	// 2. The C library of the machines' kernel.
	libraries := c.path("lib64")
	if err := umlkernel.Libraries(ctx, filepath.Join(c.opts.Image, images.RootFile), libraries); err != nil {
		return err
	}
	// 3. The network and the machines.
	if c.network, err = lab.New(ctx, lab.Options{StateDir: c.opts.StateDir, Logger: c.opts.Logger}); err != nil {
		return err
	}
	for _, n := range c.Spec.Spec.Nodes {
		if err := c.makeMachine(ctx, n, libraries); err != nil {
			return err
		}
	}
	// 4. The administrator.
	kubectl, err := kube.BakedKubectl(ctx, c.opts.Image, c.manifest, c.opts.Dir)
	if err != nil {
		return err
	}
	c.Kubectl = kube.Kubectl{Network: c.network, Path: kubectl, Kubeconfig: c.path("admin.conf"), Server: c.apiServer()}
	return nil
}

// apiServer is where the API servers are reached.
func (c *Cluster) apiServer() string {
	e := c.Spec.Spec.Endpoint
	address := e.VIP
	if address == "" {
		address = c.Spec.ControlPlanes()[0].IP().String()
	}
	return "https://" + net.JoinHostPort(address, strconv.Itoa(e.Port))
}

func (c *Cluster) path(name string) string { return filepath.Join(c.opts.Dir, name) }

// render writes the documents and has k8snode make the rest of them.
func (c *Cluster) render(ctx context.Context) error {
	document := clusterDocument
	if c.opts.Change != nil {
		document = c.opts.Change(document)
	}
	var err error
	if c.Spec, err = cluster.Parse("cluster.yaml", document); err != nil {
		return err
	}
	if want := c.Spec.Spec.Kubernetes.Version; c.manifest.Kubernetes != want {
		return fmt.Errorf("the image has Kubernetes %q and cluster.yaml of this test wants %q: change one of them", c.manifest.Kubernetes, want)
	}
	// The secrets protect nothing but this run.
	for name, content := range map[string][]byte{"cluster.yaml": document, "passphrase": []byte("correct horse battery staple\n")} {
		if err := os.WriteFile(c.path(name), content, 0o600); err != nil {
			return err
		}
	}
	if err := c.k8snode(ctx, "secrets", "init", "--out", c.path("secrets.age"), "--passphrase-file", c.path("passphrase")); err != nil {
		return err
	}
	if err := c.k8snode(ctx, c.withSecrets("render", "--image", c.opts.Image, "--out", c.path("rendered"), "--new-cluster")...); err != nil {
		return err
	}
	return c.k8snode(ctx, c.withSecrets("kubeconfig", "--out", c.path("admin.conf"))...)
}

// k8snode runs the program, as an operator does.
func (c *Cluster) k8snode(ctx context.Context, args ...string) error {
	_, err := kube.Run(exec.CommandContext(ctx, c.opts.K8snode, args...), "k8snode "+strings.Join(args, " "))
	return err
}

// K8snode runs a verb of the program beside the machines, with the cluster's
// document and secrets, and returns what it printed.
func (c *Cluster) K8snode(ctx context.Context, args ...string) (string, error) {
	out, err := kube.Run(c.network.Command(ctx, c.opts.K8snode, c.withSecrets(args...)...), "k8snode "+strings.Join(args, " "))
	return string(out), err
}

func (c *Cluster) withSecrets(args ...string) []string {
	return append(args, "--secrets", c.path("secrets.age"), "--passphrase-file", c.path("passphrase"), "--cluster", c.path("cluster.yaml"))
}

func (c *Cluster) makeMachine(ctx context.Context, n cluster.Node, libraries string) error {
	dir := c.path(n.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if c.opts.Netboot {
		// The firmware loads what is booted.
		if err := errors.Join(empty(c.disk(n.Name), diskGiB), empty(c.initrd(n.Name), 0)); err != nil {
			return err
		}
	} else {
		if err := c.configure(n.Name, "rendered"); err != nil {
			return err
		}
		if err := c.install(ctx, n.Name); err != nil {
			return err
		}
	}
	disks, err := c.moreDisks(ctx, n.Name)
	if err != nil {
		return err
	}
	m, err := lab.NewUML(ctx, c.network, lab.UMLOptions{
		Name: n.Name, Dir: dir, MAC: n.MAC,
		Kernel: c.opts.Kernel, Libraries: libraries, Disk: c.disk(n.Name), MoreDisks: disks, Initrd: c.initrd(n.Name),
		Cmdline: c.manifest.Cmdline, NoReboot: c.opts.Netboot,
	})
	if err != nil {
		return err
	}
	c.machines[n.Name] = m
	return nil
}

// Close stops everything. The files remain.
func (c *Cluster) Close(ctx context.Context) error {
	for _, m := range c.machines {
		m.Guest().Close()
	}
	if c.network == nil {
		return nil
	}
	return c.network.Close(ctx)
}

// Network is the machines' network.
func (c *Cluster) Network() *lab.Network { return c.network }

// Machine returns a machine by its node's name, which must exist.
func (c *Cluster) Machine(name string) *lab.UML { return c.machines[name] }

// ControlPlanes are the names of the control planes, in the document's order.
func (c *Cluster) ControlPlanes() []string {
	var names []string
	for _, n := range c.Spec.ControlPlanes() {
		names = append(names, n.Name)
	}
	return names
}

// Nodes are the names of all nodes, in the document's order.
func (c *Cluster) Nodes() []string {
	var names []string
	for _, n := range c.Spec.Spec.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// Others are the names of the control planes but one.
func (c *Cluster) Others(name string) []string {
	return slices.DeleteFunc(c.ControlPlanes(), func(n string) bool { return n == name })
}
