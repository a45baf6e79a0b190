package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/operate/rollout"
)

func newUpgrade(env Env) *cobra.Command {
	var f reimageFlags
	var opts rollout.Options
	cmd := &cobra.Command{
		Use:   "upgrade [NODE...]",
		Short: "Bring an image to the nodes of a running cluster, one after the other",
		Long: `Bring an image to the nodes of a running cluster: install those again that have
another one, each as "k8snode reimage" does. Control planes come first, one by one, then
workers, so many at once as --batch says. It stops when a node fails. Run it again to go
on: what has the image is left out.

When the image has another version of Kubernetes, that may be a newer patch or the next
minor version. kubeadm's configuration names it before the first control plane joins;
the pods of kube-proxy change with their nodes, which have no other images than their
own. The cluster document of the server says the same version: change it, and start the
server again, before.`,
		Example: `  k8snode upgrade --dry-run
  k8snode upgrade --image 0f3c5d1e --keep-etcd --batch 5
  k8snode upgrade w1 w2`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, names []string) error {
			opts.Nodes = names
			return runUpgrade(cmd.Context(), env, f, opts)
		},
	}
	f.addTransaction(cmd)
	cmd.Flags().StringVar(&opts.Image, "image", "", "ID of the image (default: the active one)")
	cmd.Flags().BoolVar(&opts.KeepEtcd, "keep-etcd", false, "keep the data of etcd on control planes")
	cmd.Flags().IntVar(&opts.Batch, "batch", 1, "how many workers are installed at once")
	return cmd
}

func runUpgrade(ctx context.Context, env Env, f reimageFlags, opts rollout.Options) error {
	if opts.Batch < 1 {
		return &usageError{fmt.Sprintf("--batch must be at least 1, got %d", opts.Batch), "workers that are installed at once run no pods"}
	}

	// 1. Everybody who is asked later.
	op, err := f.open(ctx, env)
	if err != nil {
		return err
	}

	// 2. What there is, and what is to be done.
	plan, err := op.rollout(ctx, opts)
	if err != nil {
		return err
	}
	for _, batch := range plan.Batches {
		for _, name := range batch {
			if _, err := op.controller(name); err != nil {
				return err
			}
		}
	}
	if f.dryRun {
		for i, line := range plan.Lines() {
			fmt.Fprintf(env.Stdout, "%d. %s\n", i+1, line)
		}
		return nil
	}
	if len(plan.Done) > 0 {
		fmt.Fprintf(env.Stderr, "k8snode: image %s is on %s\n", plan.Image.ID, strings.Join(plan.Done, ", "))
	}

	// 3. It is done, node by node.
	runner := rollout.Runner{
		Cluster: op.live,
		Begin:   func(text string) { fmt.Fprintf(env.Stderr, "k8snode: %s\n", text) },
		Reimage: func(ctx context.Context, name string) error { return op.reimage(ctx, name, plan) },
	}
	if err := runner.Run(ctx, plan); err != nil {
		return f.server.reached(err)
	}
	fmt.Fprintf(env.Stdout, "image %s is on all nodes\n", plan.Image.ID)
	return nil
}

func (op *operation) rollout(ctx context.Context, opts rollout.Options) (rollout.Plan, error) {
	images, err := op.server.Images(ctx)
	if err != nil {
		return rollout.Plan{}, op.flags.server.reached(err)
	}
	nodes, err := op.server.Nodes(ctx)
	if err != nil {
		return rollout.Plan{}, op.flags.server.reached(err)
	}
	return rollout.NewPlan(op.spec, rollout.State{Cluster: op.live.Look(ctx), Nodes: nodes, Images: images}, opts)
}

// reimage installs one node of a rollout.
func (op *operation) reimage(ctx context.Context, name string, p rollout.Plan) error {
	controller, err := op.controller(name)
	if err != nil {
		return err
	}
	plan, err := op.plan(ctx, name, p.Options(name, op.flags.options))
	if err != nil {
		return err
	}
	return op.runner(controller, name+": ").Run(ctx, plan)
}
