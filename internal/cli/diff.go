package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/butane/change"
	"github.com/k8snode/k8snode/butane/cluster"
)

func newDiff(env Env) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Show what a change of the cluster document means for each node",
		Long: `Compare two versions of a cluster document, and show for each node what has to
happen for the new one to be true:

  nothing   the next installation of the node has it
  file      whoever reads the file reads it anew each time
  restart   services of the node
  drain     services on which its pods depend
  reimage   the node is installed again
  install   the node is new
  remove    the node is no longer there
  rebuild   a running cluster cannot have it

It needs no secrets and asks no machine: it compares what both documents would give
to each node.`,
		Example: `  k8snode diff cluster.yaml.orig cluster.yaml
  k8snode diff old.yaml new.yaml -o json`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return &usageError{fmt.Sprintf("there is no output %q", output), "use -o text or -o json"}
			}
			var documents []cluster.Cluster
			for _, file := range args {
				data, err := os.ReadFile(file)
				if err != nil {
					return fmt.Errorf("reading the cluster document: %w", err)
				}
				c, err := cluster.Parse(file, data)
				if err != nil {
					return err
				}
				documents = append(documents, c)
			}
			nodes, err := change.Compare(documents[0], documents[1])
			if err != nil {
				return err
			}
			if output == "json" {
				encoder := json.NewEncoder(env.Stdout)
				encoder.SetIndent("", "  ")
				return encoder.Encode(nodes)
			}
			return printDiff(env.Stdout, nodes)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// printDiff shows nodes with the same differences once: most changes are the
// same for many.
func printDiff(w io.Writer, nodes []change.Node) error {
	type group struct {
		names  []string
		effect change.Effect
		lines  string
	}
	var groups []*group
	for _, n := range nodes {
		var lines strings.Builder
		for _, d := range n.Differences {
			notes := strings.Join(d.Services, ", ")
			if d.Note != "" {
				notes = strings.TrimPrefix(notes+"; "+d.Note, "; ")
			}
			line := fmt.Sprintf("  %s\t%s", d.Effect, d.What)
			if notes != "" {
				line += "\t" + notes
			}
			fmt.Fprintln(&lines, line)
		}
		last := len(groups) - 1
		if last >= 0 && groups[last].effect == n.Effect && groups[last].lines == lines.String() {
			groups[last].names = append(groups[last].names, n.Name)
			continue
		}
		groups = append(groups, &group{[]string{n.Name}, n.Effect, lines.String()})
	}
	for _, g := range groups {
		fmt.Fprintf(w, "%s: %s\n", strings.Join(g.names, ", "), g.effect)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprint(t, g.lines)
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}
