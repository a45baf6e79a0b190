package ha

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/provision/api"
)

// Serve starts the provisioning server beside the machines, and tells a node where
// it is, as its config would if the machine had been installed by it.
func (c *Cluster) Serve(ctx context.Context, name string) error {
	args := c.withSecrets("serve", "--image", c.opts.Image, "--data", c.path("data"), "--socket", c.path("k8snode.sock"))
	if _, err := c.network.Start(ctx, lab.Program{Label: "server", Path: c.opts.K8snode, Args: args, Log: c.path("server.log")}); err != nil {
		return err
	}
	rendered, err := os.ReadFile(filepath.Join(c.path("rendered"), name+".ign"))
	if err != nil {
		return err
	}
	_, content, err := fileOf(rendered, api.ReportPath)
	if err != nil {
		return err
	}
	_, err = c.Run(ctx, name, fmt.Sprintf("echo %s | base64 -d > %s", base64.StdEncoding.EncodeToString(content), api.ReportPath))
	if err != nil {
		return err
	}
	p := c.Spec.Spec.Provision
	address := net.JoinHostPort(p.Address, strconv.Itoa(p.TLSPort))
	return c.Wait(ctx, "the server to listen", func(ctx context.Context) (string, bool, error) {
		out, err := c.Run(ctx, name, "curl --silent --insecure --output /dev/null https://"+address+"/ && echo listens || true")
		return "", out == "listens", err
	})
}
