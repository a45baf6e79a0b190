package ha

import (
	"context"
	_ "embed" // for the program
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/provision/admin"
)

//go:embed power.sh
var powerProgram []byte

func (c *Cluster) socket() string { return c.path("k8snode.sock") }

// StartServer starts the provisioning server that the machines boot from, with the
// images, and DHCP on the machines' network. The first image is the active one.
func (c *Cluster) StartServer(ctx context.Context) error {
	args := []string{"serve", "--data", c.path("data"), "--socket", c.socket(), "--interface", c.network.Bridge(), "--new-cluster"}
	if len(c.opts.MoreImages) == 0 {
		args = append(args, "--image", c.opts.Image)
	} else {
		args = append(args, "--images", c.path("images"))
	}
	server, err := c.network.Start(ctx, lab.Program{Label: "server", Path: c.opts.K8snode, Args: c.withSecrets(args...), Log: c.path("server.log")})
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.server = server
	c.mu.Unlock()
	return c.Wait(ctx, "the server to answer", func(ctx context.Context) (string, bool, error) {
		select {
		case <-server.Done():
			return "", false, fmt.Errorf("the server has ended: %w\n%s", server.Err(), lab.Tail(c.path("server.log")))
		default:
		}
		_, err := c.Provisioned(ctx)
		return "", err == nil, nil
	})
}

// KillServer ends the server as a power cut does.
func (c *Cluster) KillServer(ctx context.Context) error {
	c.mu.Lock()
	server := c.server
	c.mu.Unlock()
	return server.Kill(ctx)
}

// Publish gives the server, which began with none, the images; the first one becomes the
// active one.
func (c *Cluster) Publish(ctx context.Context) error {
	for _, image := range append([]string{c.opts.Image}, c.opts.MoreImages...) {
		if err := c.k8snode(ctx, "publish", image, "--socket", c.socket()); err != nil {
			return err
		}
	}
	return c.k8snode(ctx, "images", "activate", c.manifest.ID, "--socket", c.socket())
}

// Ask runs a verb that asks the server, as K8snode does.
func (c *Cluster) Ask(ctx context.Context, args ...string) (string, error) {
	out, err := c.network.Command(ctx, c.opts.K8snode, append(args, "--socket", c.socket())...).Output()
	return string(out), err
}

// Provisioned are the nodes as the server sees them.
func (c *Cluster) Provisioned(ctx context.Context) ([]admin.Node, error) {
	out, err := c.Ask(ctx, "nodes", "-o", "json")
	if err != nil {
		return nil, err
	}
	var nodes []admin.Node
	if err := json.Unmarshal([]byte(out), &nodes); err != nil {
		return nil, fmt.Errorf("reading the output of k8snode nodes: %w", err)
	}
	return nodes, nil
}

// ProvisionedNode is one of them.
func (c *Cluster) ProvisionedNode(ctx context.Context, name string) (admin.Node, error) {
	nodes, err := c.Provisioned(ctx)
	if err != nil {
		return admin.Node{}, err
	}
	i := slices.IndexFunc(nodes, func(n admin.Node) bool { return n.Name == name })
	if i < 0 {
		return admin.Node{}, fmt.Errorf("the server has no node %s", name)
	}
	return nodes[i], nil
}

// Controllers writes a document with a controller for each machine, a program that
// switches it as [Cluster.PowerOn] does, until ctx ends. It returns the document's path.
func (c *Cluster) Controllers(ctx context.Context) (string, error) {
	requests, program := c.path("power"), c.path("power.sh")
	if err := errors.Join(os.MkdirAll(requests, 0o700), os.WriteFile(program, powerProgram, 0o700)); err != nil {
		return "", err
	}
	var document strings.Builder
	document.WriteString("apiVersion: k8snode.io/v1alpha1\nkind: Controllers\nspec:\n  nodes:\n")
	for _, name := range c.Nodes() {
		fmt.Fprintf(&document, "    - {name: %s, command: [./power.sh]}\n", name)
	}
	path := c.path("controllers.yaml")
	if err := os.WriteFile(path, []byte(document.String()), 0o600); err != nil {
		return "", err
	}
	go func() {
		for ctx.Err() == nil {
			found, _ := filepath.Glob(filepath.Join(requests, "*.request"))
			for _, request := range found {
				c.answer(ctx, request)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	return path, nil
}

// answer does what a request says, in its name: NUMBER.NODE.VERB.request.
func (c *Cluster) answer(ctx context.Context, request string) {
	words := strings.Split(filepath.Base(request), ".")
	if len(words) != 4 {
		return
	}
	name, verb := words[1], words[2]
	_, on := c.running()[name]
	said := "ok"
	var err error
	switch {
	case verb == "status" && on:
		said = "on"
	case verb == "status":
		said = "off"
	case verb == "on" && !on:
		err = c.PowerOn(ctx, name)
	case verb == "off" && on:
		err = c.PowerOff(ctx, name)
	}
	if err != nil {
		c.opts.Logger.Error("power not switched", "machine", name, "verb", verb, "error", err)
		said = "failed"
	}
	// The program waits until its request is gone.
	if err := os.WriteFile(strings.TrimSuffix(request, "request")+"answer", []byte(said+"\n"), 0o600); err == nil {
		_ = os.Remove(request)
	}
}

// Operate starts a verb that installs nodes, with the controllers, and returns a function
// that waits for it and one that kills it.
func (c *Cluster) Operate(ctx context.Context, controllers string, verb ...string) (wait func() (string, error), kill func(context.Context) error, err error) {
	log, err := os.CreateTemp(c.opts.Dir, verb[0]+"-*.log")
	if err != nil {
		return nil, nil, err
	}
	if err := log.Close(); err != nil {
		return nil, nil, err
	}
	args := c.withSecrets(append(slices.Clone(verb), "--socket", c.socket(), "--controllers", controllers)...)
	p, err := c.network.Start(ctx, lab.Program{Label: verb[0], Path: c.opts.K8snode, Args: args, Log: log.Name()})
	if err != nil {
		return nil, nil, err
	}
	wait = func() (string, error) {
		select {
		case <-p.Done():
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
		said, err := os.ReadFile(log.Name())
		return string(said), errors.Join(err, p.Err())
	}
	return wait, p.Kill, nil
}
