package wholepath

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/lab/kube"
)

// Sizes of the machines.
const (
	controlPlaneMemoryMiB = 6144
	workerMemoryMiB       = 3072
	diskGiB               = 24
)

// install presses the power buttons and follows the machines.
func (c *Cluster) install(ctx context.Context, opts Options, k8snode tool) error {
	var names []string
	for _, n := range k8snode.docs.spec.Spec.Nodes {
		machine, err := newMachine(ctx, c.Network, opts, n)
		if err != nil {
			return err
		}
		c.Machines = append(c.Machines, machine)
		names = append(names, n.Name)
	}
	poweredOn := opts.Now()
	for _, m := range c.Machines {
		if err := m.Start(ctx); err != nil {
			return err
		}
	}
	follow := newFollower(names, poweredOn)
	defer func() { c.Timeline.Nodes = follow.nodeTimes() }()
	wait := kube.Waiter{What: "the nodes to be ready", Every: time.Second, Stall: opts.Stall, Now: opts.Now}
	err := wait.Until(ctx, func(ctx context.Context) (string, bool, error) {
		if err := c.dead(); err != nil {
			return "", false, err
		}
		seen, err := k8snode.nodes(ctx)
		if err != nil {
			return "", false, err
		}
		news, err := follow.observe(opts.Now(), seen)
		for _, line := range news {
			opts.Logger.Info("node progressed", "node", line)
		}
		return follow.summary(), follow.done(), err
	})
	if err != nil {
		return err
	}
	return looked(c.Machines)
}

func newMachine(ctx context.Context, network *lab.Network, opts Options, n cluster.Node) (lab.Machine, error) {
	dir := filepath.Join(opts.Dir, "machines", n.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	memory, cpus := controlPlaneMemoryMiB, 2
	if n.Role == cluster.Worker {
		// kubeadm wants two CPUs of control planes only, and emulated ones
		// wait for each other.
		memory, cpus = workerMemoryMiB, 1
	}
	return lab.NewQEMU(ctx, network, lab.QEMUOptions{
		Name:        n.Name,
		MAC:         n.MAC,
		Dir:         dir,
		MemoryMiB:   memory,
		CPUs:        cpus,
		DiskGiB:     diskGiB,
		Accelerator: opts.Accelerator,
	})
}
