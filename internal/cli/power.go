package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/operate/power"
)

// defaultControllers is the document that is looked for.
const defaultControllers = "controllers.yaml"

type powerFlags struct {
	controllers string
	patience    time.Duration
}

func newPower(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "power VERB",
		Short: "Switch machines on and off, and have them boot from the network",
		Long: `Switch machines on and off by their management controllers. A document of the kind
Controllers says which that is: Redfish, IPMI (by ipmitool), or a program of your own.

  apiVersion: k8snode.io/v1alpha1
  kind: Controllers
  spec:
    nodes:
      - name: cp1
        redfish: {url: https://10.10.1.11, user: root, passwordFile: bmc, certificateSHA256: "AB:CD:…"}
      - name: w1
        ipmi: {address: 10.10.1.21, user: root, passwordFile: bmc}
      - name: w2
        command: [/usr/local/bin/outlet, "7"]

A program is given a verb (status, on, off, network) and the node's name.`,
		Example: "  k8snode power status cp1 w1\n  k8snode power cycle w1",
	}
	cmd.AddCommand(
		powerVerb(env, powerAction{verb: "status", short: "Say whether machines are on"}),
		powerVerb(env, powerAction{
			verb: "on", short: "Switch machines on",
			do: func(ctx context.Context, c power.Controller, o power.CycleOptions) error {
				return power.Reach(ctx, c, power.On, o)
			},
		}),
		powerVerb(env, powerAction{
			verb: "off", short: "Switch machines off, at once", long: "Switch machines off, at once. Their systems are not asked: drain a node first.",
			do: func(ctx context.Context, c power.Controller, o power.CycleOptions) error {
				return power.Reach(ctx, c, power.Off, o)
			},
		}),
		powerVerb(env, powerAction{
			verb: "cycle", short: "Start machines again from the network",
			long: "Start machines again from the network, once, whether they are on or off. Outside of\nan install window they start from their disks all the same: the server says so.",
			do:   power.Cycle,
		}))
	return cmd
}

type powerAction struct {
	verb, short, long string
	// do is done before the state is shown; nil does nothing.
	do func(context.Context, power.Controller, power.CycleOptions) error
}

func powerVerb(env Env, a powerAction) *cobra.Command {
	var f powerFlags
	cmd := &cobra.Command{
		Use: a.verb + " NODE...", Short: a.short, Long: a.long,
		Example: "  k8snode power " + a.verb + " w1 --controllers controllers.yaml",
		Args:    nodeNames,
		RunE: func(cmd *cobra.Command, names []string) error {
			return runPower(cmd.Context(), env, f, a, names)
		},
	}
	cmd.Flags().StringVar(&f.controllers, "controllers", defaultControllers, "document with the machines' controllers")
	if a.do != nil {
		cmd.Flags().DurationVar(&f.patience, "patience", 2*time.Minute, "how long a machine may take to be off, or on")
	}
	return cmd
}

// runPower acts on machines, one after the other until one fails: not all are
// switched off by one mistake.
func runPower(ctx context.Context, env Env, f powerFlags, a powerAction, names []string) error {
	data, err := os.ReadFile(f.controllers)
	if err != nil {
		return fmt.Errorf("reading the machines' controllers: %w", err)
	}
	document, err := power.Parse(f.controllers, data)
	if err != nil {
		return err
	}
	var all []power.Controller
	for _, name := range names {
		c, err := document.Open(name, power.OpenOptions{Dir: filepath.Dir(f.controllers), Environ: env.Environ})
		if err != nil {
			return err
		}
		all = append(all, c)
	}
	for i, c := range all {
		if a.do != nil {
			if err := a.do(ctx, c, power.CycleOptions{Patience: f.patience}); err != nil {
				return fmt.Errorf("%s: %w", names[i], err)
			}
		}
		state, err := c.State(ctx)
		if err != nil {
			return fmt.Errorf("%s: asking whether it is on: %w", names[i], err)
		}
		if _, err := fmt.Fprintf(env.Stdout, "%s %s\n", names[i], state); err != nil {
			return err
		}
	}
	return nil
}
