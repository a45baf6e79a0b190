package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/operate"
	"github.com/k8snode/k8snode/operate/power"
	"github.com/k8snode/k8snode/operate/reimage"
	"github.com/k8snode/k8snode/provision/admin"
)

type reimageFlags struct {
	clusterFlags
	server       clientFlags
	options      reimage.Options
	controllers  string
	drainTimeout time.Duration
	dryRun       bool
}

// addTransaction adds the flags of what installs nodes of a running cluster.
func (f *reimageFlags) addTransaction(cmd *cobra.Command) {
	f.add(cmd)
	f.server.add(cmd)
	flags := cmd.Flags()
	flags.DurationVar(&f.options.Window, "for", 45*time.Minute, "how long an install window stays open")
	flags.StringVar(&f.controllers, "controllers", defaultControllers, "document with the machines' controllers; without it somebody starts the machines")
	flags.DurationVar(&f.drainTimeout, "drain-timeout", 5*time.Minute, "how long pods may take to leave")
	flags.BoolVar(&f.dryRun, "dry-run", false, "print the plan, and do nothing")
}

func newReimage(env Env) *cobra.Command {
	var f reimageFlags
	cmd := &cobra.Command{
		Use:   "reimage NODE",
		Short: "Install a node of a running cluster again",
		Long: `Install a node of a running cluster again, as one transaction: drain it, have etcd's
leader hand over, remove its member and its Node, open an install window, start its
machine from the network, follow it until it is Ready, verify, close the window.
Nothing is done that would cost etcd its quorum.

It may be interrupted at any step, and so may the server: run it again, and it goes on
where it was. With --keep-etcd the data of etcd stays on the disk, and the member with
it; that is how the only control plane of a cluster is installed again.

A document of the kind Controllers says how the machine is started ("k8snode power
--help"). Without one, start it from the network when you are asked to.`,
		Example: `  k8snode reimage w1 --dry-run
  k8snode reimage w1
  k8snode reimage cp2 --keep-etcd --image 0f3c5d1e
  k8snode reimage cp2 --server https://10.77.0.1:8444 --server-ca ca.crt --token-file token`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runReimage(cmd.Context(), env, f, args[0])
		},
	}
	f.addTransaction(cmd)
	cmd.Flags().StringVar(&f.options.Image, "image", "", "ID of the image (default: the active one)")
	cmd.Flags().BoolVar(&f.options.KeepEtcd, "keep-etcd", false, "keep the data of etcd")
	return cmd
}

func runReimage(ctx context.Context, env Env, f reimageFlags, name string) error {
	// 1. Everybody who is asked later.
	op, err := f.open(ctx, env)
	if err != nil {
		return err
	}
	controller, err := op.controller(name)
	if err != nil {
		return err
	}

	// 2. What there is, and what is to be done.
	plan, err := op.plan(ctx, name, f.options)
	if err != nil {
		return err
	}
	if f.dryRun {
		for i, line := range plan.Lines() {
			fmt.Fprintf(env.Stdout, "%d. %s\n", i+1, line)
		}
		return nil
	}
	if plan.Resumes {
		fmt.Fprintf(env.Stderr, "k8snode: going on with a reimage of %s that was begun before\n", name)
	}

	// 3. It is done.
	if err := op.runner(controller, "").Run(ctx, plan); err != nil {
		return f.server.reached(err)
	}
	fmt.Fprintf(env.Stdout, "%s is installed again and Ready\n", name)
	return nil
}

// An operation is done to a running cluster, with what installs its machines.
type operation struct {
	env         Env
	flags       reimageFlags
	live        *operate.Live
	spec        cluster.Cluster
	server      *admin.Client
	controllers *power.Document
}

// open connects to all of it; only files are read.
func (f reimageFlags) open(ctx context.Context, env Env) (*operation, error) {
	c, bundle, err := f.clusterFlags.open(ctx, env)
	if err != nil {
		return nil, err
	}
	live, err := operate.Connect(c, bundle, pki.Options{Now: env.Now(), Rand: env.Rand})
	if err != nil {
		return nil, err
	}
	server, err := f.server.open()
	if err != nil {
		return nil, err
	}
	op := &operation{env: env, flags: f, live: live, spec: c, server: server}
	data, err := os.ReadFile(f.controllers)
	if errors.Is(err, fs.ErrNotExist) && f.controllers == defaultControllers {
		return op, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the machines' controllers: %w", err)
	}
	document, err := power.Parse(f.controllers, data)
	if err != nil {
		return nil, err
	}
	op.controllers = &document
	return op, nil
}

// controller is that of a machine, or nil when somebody starts it by hand.
func (op *operation) controller(name string) (power.Controller, error) {
	if op.controllers == nil {
		return nil, nil
	}
	return op.controllers.Open(name, power.OpenOptions{Dir: filepath.Dir(op.flags.controllers), Environ: op.env.Environ})
}

func (op *operation) plan(ctx context.Context, name string, opts reimage.Options) (reimage.Plan, error) {
	nodes, err := op.server.Nodes(ctx)
	if err != nil {
		return reimage.Plan{}, op.flags.server.reached(err)
	}
	for _, n := range nodes {
		if n.Name == name {
			return reimage.NewPlan(op.spec, op.live.Look(ctx), n, opts)
		}
	}
	return reimage.Plan{}, fmt.Errorf("the provisioning server has no node %s; its document is another one, or it was not started again since", name)
}

// runner says what it does behind a label: nodes of a batch speak at the same time.
func (op *operation) runner(c power.Controller, label string) reimage.Runner {
	return reimage.Runner{
		Server: op.server, Cluster: op, Power: c,
		Begin: func(text string) { fmt.Fprintf(op.env.Stderr, "k8snode: %s%s\n", label, text) },
		Say:   func(text string) { fmt.Fprintf(op.env.Stderr, "k8snode: %s  %s\n", label, text) },
	}
}

// Look implements [reimage.Cluster].
func (op *operation) Look(ctx context.Context) operate.Facts { return op.live.Look(ctx) }

// Remove implements [reimage.Cluster].
func (op *operation) Remove(ctx context.Context, p operate.Plan) error {
	return p.Run(ctx, op.live, operate.RunOptions{
		DrainTimeout: op.flags.drainTimeout, Progress: op.env.Stderr,
		Done: func(step operate.Step) { fmt.Fprintf(op.env.Stderr, "k8snode: done: %s\n", step.Text) },
	})
}
