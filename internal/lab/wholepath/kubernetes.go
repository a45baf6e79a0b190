package wholepath

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/k8snode/k8snode/butane/cluster"

	"github.com/k8snode/k8snode/internal/lab/kube"
)

// apiServerPort is where an API server listens on its node.
const apiServerPort = 6443

// admit takes the administrator's credentials and waits until Kubernetes says
// that every node is Ready.
func (c *Cluster) admit(ctx context.Context, opts Options, k8snode tool) (kube.Kubectl, error) {
	if err := c.neverHeld(); err != nil {
		return kube.Kubectl{}, err
	}
	if err := k8snode.writeKubeconfig(ctx); err != nil {
		return kube.Kubectl{}, err
	}
	spec := k8snode.docs.spec
	controlPlane, err := nodeOfRole(spec, cluster.ControlPlane)
	if err != nil {
		return kube.Kubectl{}, err
	}
	c.Kubeconfig, c.kubectl = k8snode.docs.kubeconfig, k8snode.docs.kubectl
	c.APIServer = "https://" + netip.AddrPortFrom(controlPlane.IP(), apiServerPort).String()
	client := kube.Kubectl{Network: c.Network, Path: c.kubectl, Kubeconfig: c.Kubeconfig, Server: c.APIServer}
	var names []string
	for _, n := range spec.Spec.Nodes {
		names = append(names, n.Name)
	}
	wait := kube.Waiter{What: "every node to be Ready", Every: 2 * time.Second, Stall: opts.Stall, Now: opts.Now}
	return client, wait.Until(ctx, func(ctx context.Context) (string, bool, error) {
		if err := c.dead(); err != nil {
			return "", false, err
		}
		var nodes kube.NodeList
		if err := client.Get(ctx, &nodes, "nodes"); err != nil {
			return err.Error(), false, nil // An API server may still restart.
		}
		seen, ready := nodes.AllReady(names)
		return seen, ready, nil
	})
}

// answer starts a pod on the worker and asks it who asks.
func (c *Cluster) answer(ctx context.Context, opts Options, client kube.Kubectl, spec cluster.Cluster) error {
	worker, err := nodeOfRole(spec, cluster.Worker)
	if err != nil {
		return err
	}
	image, err := c.stagedImage(ctx, opts, client, worker.Name)
	if err != nil {
		return err
	}
	address, err := c.startPod(ctx, opts, client, image, worker)
	if err != nil {
		return err
	}
	route := c.Network.Command(ctx, "ip", "route", "replace", worker.PodCIDR, "via", worker.IP().String())
	if _, err := kube.Run(route, "ip route replace "+worker.PodCIDR); err != nil {
		return err
	}
	wait := kube.Waiter{What: "an answer of the pod at " + address.String(), Every: time.Second, Stall: time.Minute, Now: opts.Now}
	return wait.Until(ctx, func(ctx context.Context) (string, bool, error) {
		asked, err := ask(ctx, c.Network.Dial, address)
		if err != nil {
			// The text holds a port that differs: it is no news.
			return "no answer", false, nil
		}
		opts.Logger.Info("pod answered", "pod", podName, "address", address, "asked by", asked)
		return "", true, nil
	})
}

// podsReady waits until every pod of the cluster is ready: those of the control
// plane, and CoreDNS and kube-proxy, which need a working network of pods.
func (c *Cluster) podsReady(ctx context.Context, opts Options, client kube.Kubectl) error {
	wait := kube.Waiter{What: "every pod to be ready", Every: 5 * time.Second, Stall: opts.Stall, Now: opts.Now}
	return wait.Until(ctx, func(ctx context.Context) (string, bool, error) {
		if err := c.dead(); err != nil {
			return "", false, err
		}
		var pods kube.PodList
		if err := client.Get(ctx, &pods, "pods", "--all-namespaces"); err != nil {
			return err.Error(), false, nil
		}
		seen, ready := pods.AllReady()
		return seen, ready, nil
	})
}

// stagedImage finds the CoreDNS image that was baked into the worker's image,
// in what its kubelet says of itself.
func (c *Cluster) stagedImage(ctx context.Context, opts Options, client kube.Kubectl, worker string) (string, error) {
	var image string
	wait := kube.Waiter{What: "a pre-staged CoreDNS image on " + worker, Every: 2 * time.Second, Stall: 2 * time.Minute, Now: opts.Now}
	err := wait.Until(ctx, func(ctx context.Context) (string, bool, error) {
		if err := c.dead(); err != nil {
			return "", false, err
		}
		var n kube.Node
		if err := client.Get(ctx, &n, "node", worker); err != nil {
			return err.Error(), false, nil
		}
		var ok bool
		image, ok = n.PreStaged()
		return "none", ok, nil
	})
	return image, err
}

// startPod creates the pod and waits until it runs; its address must be one
// of the worker's.
func (c *Cluster) startPod(ctx context.Context, opts Options, client kube.Kubectl, image string, worker cluster.Node) (netip.Addr, error) {
	manifest, err := podManifest(image, worker.Name)
	if err != nil {
		return netip.Addr{}, err
	}
	var p pod
	wait := kube.Waiter{What: "the pod to run", Every: 2 * time.Second, Stall: 5 * time.Minute, Now: opts.Now}
	err = wait.Until(ctx, func(ctx context.Context) (string, bool, error) {
		if err := c.dead(); err != nil {
			return "", false, err
		}
		// Again and again: the controllers may not have made the namespace's
		// service account yet, and an API server may restart.
		if _, err := client.Run(ctx, manifest, "apply", "-f", "-"); err != nil {
			return err.Error(), false, nil
		}
		p = pod{}
		if err := client.Get(ctx, &p, "pod", podName); err != nil {
			return err.Error(), false, nil
		}
		seen, ok := p.running()
		return seen, ok, nil
	})
	if err != nil {
		return netip.Addr{}, err
	}
	address, err := netip.ParseAddr(p.Status.PodIP)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("reading the pod's address: %w", err)
	}
	prefix, err := netip.ParsePrefix(worker.PodCIDR)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("reading the pod prefix of %s: %w", worker.Name, err)
	}
	if !prefix.Contains(address) {
		return netip.Addr{}, fmt.Errorf("the pod's address %s is not in %s, the prefix of %s", address, prefix, worker.Name)
	}
	return address, nil
}

// heldMark begins what a machine that cannot go on says on its console.
const heldMark = "k8snode: HOLD"

// neverHeld sees that no machine said that it cannot go on, even if it then
// did.
func (c *Cluster) neverHeld() error {
	for _, m := range c.Machines {
		b, err := os.ReadFile(m.Console())
		if err != nil {
			return fmt.Errorf("reading the console of %s: %w", m.Name(), err)
		}
		if bytes.Contains(b, []byte(heldMark)) {
			return fmt.Errorf("the console of %s says %q: %s", m.Name(), heldMark, m.Console())
		}
	}
	return nil
}
