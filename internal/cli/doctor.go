package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/operate"
)

type doctorFlags struct {
	clusterFlags
	rendered, output string
	offline          bool
}

func newDoctor(env Env) *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with a cluster, and what expires when",
		Long: `Look at the secrets, at rendered configs if a folder is named, and at the cluster
itself: nodes, versions, the certificates that its servers show, and etcd with its
quota and alarms. Findings are listed in order of urgency: what is wrong now, what
will be within 60 days, and what is fine. The exit code is 1 if something is wrong
now. With --offline nothing is connected to.`,
		Example: `  k8snode doctor --cluster cluster.yaml --secrets secrets.age
  k8snode doctor --offline --rendered rendered -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDoctor(cmd.Context(), env, f)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.rendered, "rendered", "", "folder of \"k8snode render\", to look at its certificates too")
	cmd.Flags().StringVarP(&f.output, "output", "o", "table", "table or json")
	cmd.Flags().BoolVar(&f.offline, "offline", false, "look at files alone")
	return cmd
}

// errUnwell is for the exit code; the findings are the message.
var errUnwell = errors.New("something is wrong now")

func runDoctor(ctx context.Context, env Env, f doctorFlags) error {
	if f.output != "table" && f.output != "json" {
		return &usageError{fmt.Sprintf("there is no output format %q", f.output), "use table or json"}
	}
	c, bundle, err := f.open(ctx, env)
	if err != nil {
		return err
	}
	files, err := operate.OfBundle(bundle)
	if err != nil {
		return err
	}
	if f.rendered != "" {
		rendered, err := operate.OfRendered(os.DirFS(f.rendered))
		if err != nil {
			return fmt.Errorf("looking at %s: %w", f.rendered, err)
		}
		files = append(files, rendered...)
	}
	var facts *operate.Facts
	if !f.offline {
		live, err := operate.Connect(c, bundle, pki.Options{Now: env.Now(), Rand: env.Rand})
		if err != nil {
			return err
		}
		found := live.Look(ctx)
		facts = &found
	}
	findings := operate.Diagnose(c, facts, files, env.Now())
	if err := printFindings(env, f.output, findings); err != nil {
		return err
	}
	if len(findings) > 0 && findings[0].Urgency == operate.Now {
		return errUnwell
	}
	return nil
}

func printFindings(env Env, output string, findings []operate.Finding) error {
	if output == "json" {
		e := json.NewEncoder(env.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(findings)
	}
	t := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "WHEN\tWHAT\tFINDING")
	for _, finding := range findings {
		message := finding.Message
		if finding.Remedy != "" {
			message += " (" + finding.Remedy + ")"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", finding.Urgency, finding.Subject, message)
	}
	return t.Flush()
}
