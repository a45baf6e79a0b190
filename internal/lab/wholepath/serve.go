package wholepath

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/lab/kube"
)

// sitePort is that of the operators' site.
const sitePort = 9443

// serve makes the network, starts the server inside it, and waits until it
// answers.
func (c *Cluster) serve(ctx context.Context, opts Options, docs documents) (tool, error) {
	network, err := lab.New(ctx, lab.Options{StateDir: opts.StateDir, Logger: opts.Logger})
	if err != nil {
		return tool{}, err
	}
	c.Network = network
	// Beside the network's record: a socket's path must be short.
	k8snode := tool{
		path: opts.K8snode, docs: docs, socket: filepath.Join(network.StateDir(), "serve.sock"),
		network: network, site: fmt.Sprintf("https://%s:%d", docs.spec.Spec.Provision.Address, sitePort),
	}
	server, err := network.Start(ctx, lab.Program{
		Label: "serve",
		Path:  opts.K8snode,
		Args:  k8snode.serveArgs(network.Bridge()),
		Log:   docs.serveLog,
	})
	if err != nil {
		return tool{}, err
	}
	c.server = server
	wait := kube.Waiter{What: "the server to answer", Every: 200 * time.Millisecond, Stall: time.Minute, Now: opts.Now}
	err = wait.Until(ctx, func(ctx context.Context) (string, bool, error) {
		if err := c.dead(); err != nil {
			return "", false, err
		}
		if _, err := k8snode.nodes(ctx); err != nil {
			return err.Error(), false, nil
		}
		return "", true, nil
	})
	return k8snode, err
}
