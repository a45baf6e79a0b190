package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/provision/admin"
)

// defaultSocket is where serve listens for the operator.
const defaultSocket = "run/k8snode.sock"

func addSocket(cmd *cobra.Command, socket *string) {
	cmd.Flags().StringVar(socket, "socket", defaultSocket, "the server's socket for the operator")
}

func newArm(env Env) *cobra.Command {
	var socket string
	var window time.Duration
	cmd := &cobra.Command{
		Use:   "arm NODE...",
		Short: "Open an install window for nodes",
		Long: `Open an install window: until it ends, a machine with the node's MAC address that
boots from the network is erased and becomes the node. Outside of a window the
server delivers nothing.`,
		Example: `  k8snode arm cp1 w1 --for 45m`,
		Args:    nodeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			return eachNode(cmd.Context(), env, socket, names, func(ctx context.Context, c *admin.Client, name string) (admin.Node, error) {
				return c.Arm(ctx, name, window)
			})
		},
	}
	addSocket(cmd, &socket)
	cmd.Flags().DurationVar(&window, "for", 45*time.Minute, "how long the window stays open")
	return cmd
}

func newDisarm(env Env) *cobra.Command {
	var socket string
	cmd := &cobra.Command{
		Use:     "disarm NODE...",
		Short:   "Close the install window of nodes",
		Example: `  k8snode disarm w1`,
		Args:    nodeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			return eachNode(cmd.Context(), env, socket, names, func(ctx context.Context, c *admin.Client, name string) (admin.Node, error) {
				return c.Disarm(ctx, name)
			})
		},
	}
	addSocket(cmd, &socket)
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
	ctx context.Context, env Env, socket string, names []string,
	do func(context.Context, *admin.Client, string) (admin.Node, error),
) error {
	client := admin.NewClient(socket)
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
	return reached(socket, failed)
}

// reached says in an operator's words that there is no server.
func reached(socket string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no server listens on %s: start \"k8snode serve\", or name its socket with --socket", socket)
	}
	return err
}
