package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/provision/admin"
)

func newArm(env Env) *cobra.Command {
	var server clientFlags
	var opts admin.ArmOptions
	cmd := &cobra.Command{
		Use:   "arm NODE...",
		Short: "Open an install window for nodes",
		Long: `Open an install window: until it ends, a machine with the node's MAC address that
boots from the network, or from the ISO of "k8snode iso", is erased and becomes the
node. Outside of a window the server delivers nothing.

With --keep-etcd the data of etcd stays on the disk of a control plane, whose member
goes on with it; an install that cannot keep it writes nothing.`,
		Example: `  k8snode arm cp1 w1 --for 45m
  k8snode arm cp2 --keep-etcd`,
		Args: nodeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			return eachNode(cmd.Context(), env, server, names, func(ctx context.Context, c *admin.Client, name string) (admin.Node, error) {
				return c.Arm(ctx, name, opts)
			})
		},
	}
	server.add(cmd)
	cmd.Flags().DurationVar(&opts.For, "for", 45*time.Minute, "how long the window stays open")
	cmd.Flags().StringVar(&opts.Image, "image", "", "ID of the image (default: the active one)")
	cmd.Flags().BoolVar(&opts.KeepEtcd, "keep-etcd", false, "keep the data of etcd")
	return cmd
}

func newDisarm(env Env) *cobra.Command {
	var server clientFlags
	cmd := &cobra.Command{
		Use:     "disarm NODE...",
		Short:   "Close the install window of nodes",
		Example: `  k8snode disarm w1`,
		Args:    nodeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			return eachNode(cmd.Context(), env, server, names, func(ctx context.Context, c *admin.Client, name string) (admin.Node, error) {
				return c.Disarm(ctx, name)
			})
		},
	}
	server.add(cmd)
	return cmd
}

func newHold(env Env) *cobra.Command {
	var server clientFlags
	var why string
	cmd := &cobra.Command{
		Use:   "hold NODE...",
		Short: "Keep nodes from installing while their windows stay open",
		Long: `Keep nodes from installing while their windows stay open. A machine that asks waits,
and asks again, until "k8snode release" lets it go on. An install that has begun to
write goes on.`,
		Example: `  k8snode hold w1 --why "its disk is being replaced"`,
		Args:    nodeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			return eachNode(cmd.Context(), env, server, names, func(ctx context.Context, c *admin.Client, name string) (admin.Node, error) {
				return c.Hold(ctx, name, why)
			})
		},
	}
	server.add(cmd)
	cmd.Flags().StringVar(&why, "why", "", "why, for whoever looks at it")
	return cmd
}

func newRelease(env Env) *cobra.Command {
	var server clientFlags
	cmd := &cobra.Command{
		Use:     "release NODE...",
		Short:   "Let held nodes install again, in the windows that are open",
		Example: `  k8snode release w1`,
		Args:    nodeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			return eachNode(cmd.Context(), env, server, names, func(ctx context.Context, c *admin.Client, name string) (admin.Node, error) {
				return c.Release(ctx, name)
			})
		},
	}
	server.add(cmd)
	return cmd
}

func nodeNames(cmd *cobra.Command, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("%s needs the name of a node", cmd.CommandPath())
	}
	return nil
}

// eachNode does something to nodes, one after the other until one fails, and
// prints those that it was done to.
func eachNode(
	ctx context.Context, env Env, server clientFlags, names []string,
	do func(context.Context, *admin.Client, string) (admin.Node, error),
) error {
	client, err := server.open()
	if err != nil {
		return err
	}
	var done []admin.Node
	var failed error
	for _, name := range names {
		var n admin.Node
		if n, failed = do(ctx, client, name); failed != nil {
			break
		}
		done = append(done, n)
	}
	if len(done) > 0 {
		if err := printNodes(env.Stdout, done); err != nil {
			return err
		}
	}
	return server.reached(failed)
}
