package ha

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// VIPHolder is the name of the control plane that has the virtual address of the
// endpoint; empty while none has. More than one is an error.
func (c *Cluster) VIPHolder(ctx context.Context) (string, error) {
	return c.holder(ctx, c.Spec.Spec.Endpoint.VIP)
}

// Apart says which virtual addresses are not where that of the endpoint is: they
// move together.
func (c *Cluster) Apart(ctx context.Context) (string, error) {
	at, err := c.VIPHolder(ctx)
	if err != nil {
		return "", err
	}
	var apart []string
	for _, in := range c.Spec.Spec.HighAvailability.Instances {
		vip, _, _ := strings.Cut(in.VIP, "/")
		holder, err := c.holder(ctx, vip)
		if err != nil {
			return "", err
		}
		if holder != at {
			apart = append(apart, fmt.Sprintf("%s is at %q", in.Name, holder))
		}
	}
	return strings.Join(apart, ", "), nil
}

func (c *Cluster) holder(ctx context.Context, vip string) (string, error) {
	var holders []string
	running := c.running()
	for _, name := range c.ControlPlanes() {
		if _, on := running[name]; !on {
			continue
		}
		out, err := c.Run(ctx, name, "ip -oneline address show to "+vip)
		if err != nil {
			return "", err
		}
		if out != "" {
			holders = append(holders, name)
		}
	}
	if len(holders) > 1 {
		return "", fmt.Errorf("the virtual address %s is at %s: all of them", vip, strings.Join(holders, ", "))
	}
	return strings.Join(holders, ""), nil
}

// WaitVIP waits until the virtual address is not at a control plane any more,
// and until the API answers there. It returns who has it, and how long that
// took.
func (c *Cluster) WaitVIP(ctx context.Context, notAt string) (holder string, took time.Duration, err error) {
	began := c.opts.Now()
	err = c.Wait(ctx, "the virtual address to leave "+notAt, func(ctx context.Context) (string, bool, error) {
		if _, err := c.Kubectl.Run(ctx, nil, "get", "--raw", "/readyz"); err != nil {
			return lastLine(err.Error()), false, nil
		}
		// The old holder may have answered its last.
		at, err := c.VIPHolder(ctx)
		if err != nil || at == "" || at == notAt {
			return "it is at " + at, false, nil
		}
		holder, took = at, c.opts.Now().Sub(began)
		apart, err := c.Apart(ctx)
		return apart, err == nil && apart == "", err
	})
	if err == nil {
		c.opts.Logger.Info("virtual address moved", "from", notAt, "to", holder, "took", took.Round(100*time.Millisecond))
	}
	return holder, took, err
}
