package cli

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"time"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/provision/admin"
)

// watchEvery is the time between two looks: a machine reports more rarely.
const watchEvery = time.Second

func newNodes(env Env) *cobra.Command {
	var server clientFlags
	var output string
	var watch, unknown bool
	cmd := &cobra.Command{
		Use:   "nodes",
		Short: "Show how far every node is, and what was refused",
		Long: `Show how far every node is, and what was refused. With --watch, show what changes as
well, until interrupted: as further lines of the table, or as further documents.`,
		Example: `  k8snode nodes
  k8snode nodes --watch
  k8snode nodes -o json
  k8snode nodes --unknown`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			printer, err := newNodePrinter(env.Stdout, output)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			client, err := server.open()
			if err != nil {
				return err
			}
			if unknown {
				return printStrangers(ctx, env.Stdout, server, client, output)
			}
			nodes, err := client.Nodes(ctx)
			if err != nil {
				return server.reached(err)
			}
			if err := printer.print(nodes); err != nil || !watch {
				return err
			}
			return watchNodes(ctx, client, nodes, printer)
		},
	}
	server.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	cmd.Flags().BoolVar(&unknown, "unknown", false, "show the machines that asked and are no nodes, instead")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on, and show what changes")
	cmd.MarkFlagsMutuallyExclusive("unknown", "watch")
	return cmd
}

// watchNodes prints the nodes that are not as they were, until ctx ends. A server
// that ends is an error: nothing would be shown any more.
func watchNodes(ctx context.Context, client *admin.Client, before []admin.Node, printer nodePrinter) error {
	known := map[string]admin.Node{}
	for _, n := range before {
		known[n.Name] = n
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		nodes, err := client.Nodes(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watching the nodes: %w", err)
		}
		var changed []admin.Node
		for _, n := range nodes {
			if old, ok := known[n.Name]; !ok || !reflect.DeepEqual(old, n) {
				changed, known[n.Name] = append(changed, n), n
			}
		}
		if len(changed) == 0 {
			continue
		}
		if err := printer.print(changed); err != nil {
			return err
		}
	}
}

// A nodePrinter prints nodes, first all and then those that changed.
type nodePrinter interface {
	print(nodes []admin.Node) error
}

func newNodePrinter(w io.Writer, output string) (nodePrinter, error) {
	switch output {
	case "table":
		return &nodeTable{table: table{w: w}}, nil
	case "json", "yaml":
		return &nodeDocuments{documents{w: w, format: output}}, nil
	}
	return nil, &usageError{fmt.Sprintf("there is no output %q", output), "use -o table, -o json or -o yaml"}
}

// nodeDocuments prints a list each time.
type nodeDocuments struct{ documents }

func (d *nodeDocuments) print(nodes []admin.Node) error { return d.write(nodes) }

// nodeTable prints its header once.
type nodeTable struct {
	table
	headed bool
}

func (t *nodeTable) print(nodes []admin.Node) error {
	var rows [][]string
	if !t.headed {
		rows, t.headed = [][]string{{"NODE", "ROLE", "MAC", "ADDRESS", "PHASE", "STEP", "WINDOW", "REFUSED", "MESSAGE"}}, true
	}
	for _, n := range nodes {
		rows = append(rows, nodeRow(n))
	}
	return t.write(rows)
}

func nodeRow(n admin.Node) []string {
	step := n.Step
	if n.Total > 0 {
		step = fmt.Sprintf("%s %d%%", n.Step, n.Done*100/n.Total)
	}
	window := "closed"
	switch {
	case n.Held:
		window = "held"
	case n.Open:
		window = "until " + n.WindowEnd.Local().Format("15:04:05")
	}
	return []string{n.Name, n.Role, n.MAC, n.Address, string(n.Phase), step, window, fmt.Sprint(n.Refused), n.Message}
}

func printNodes(w io.Writer, nodes []admin.Node) error {
	return (&nodeTable{table: table{w: w}}).print(nodes)
}
