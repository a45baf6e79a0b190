package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/operate"
)

func newNode(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "node VERB",
		Short:   "Take a node out of a running cluster",
		Example: `  k8snode node remove w1 --dry-run`,
	}
	cmd.AddCommand(newNodeRemove(env))
	return cmd
}

type removeFlags struct {
	clusterFlags
	dryRun  bool
	timeout time.Duration
}

func newNodeRemove(env Env) *cobra.Command {
	var f removeFlags
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Drain a node, take it out of etcd, and delete it",
		Long: `Take a node out of the cluster, so that its machine can be switched off or installed
again: move its pods, have etcd's leader hand over, remove its member of etcd, delete
the Node. Nothing is done that would cost etcd its quorum. What is done already is
left out, so a removal that was interrupted is simply run again.

Switch the machine off, or install it again, as soon as this is done: its kubelet
still has its credentials, and registers the node anew. A machine that is lost needs
none of this: boot it with an empty disk, and it joins again by itself.`,
		Example: `  k8snode node remove w1
  k8snode node remove cp2 --dry-run`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runNodeRemove(cmd.Context(), env, f, args[0])
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "print the plan, and do nothing")
	cmd.Flags().DurationVar(&f.timeout, "drain-timeout", 5*time.Minute, "how long pods may take to leave")
	return cmd
}

func runNodeRemove(ctx context.Context, env Env, f removeFlags, name string) error {
	c, bundle, err := f.open(ctx, env)
	if err != nil {
		return err
	}
	live, err := operate.Connect(c, bundle, pki.Options{Now: env.Now(), Rand: env.Rand})
	if err != nil {
		return err
	}
	plan, err := operate.PlanRemove(c, live.Look(ctx), name, operate.RemoveOptions{})
	if err != nil {
		return err
	}
	if len(plan.Steps) == 0 {
		fmt.Fprintf(env.Stderr, "k8snode: nothing of %s is in the cluster\n", name)
		return nil
	}
	if f.dryRun {
		for i, step := range plan.Steps {
			fmt.Fprintf(env.Stdout, "%d. %s\n", i+1, step.Text)
		}
		return nil
	}
	return plan.Run(ctx, live, operate.RunOptions{
		DrainTimeout: f.timeout, Progress: env.Stderr,
		Done: func(s operate.Step) { fmt.Fprintf(env.Stdout, "done: %s\n", s.Text) },
	})
}
