package wholepath

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/k8snode/k8snode/provision/api"
)

// A Timeline says what took how long.
type Timeline struct {
	// Bake is zero if it is not known.
	Bake   time.Duration
	Stages []Stage
	// Nodes are sorted by name.
	Nodes []NodeTimes
}

// A Stage is one numbered part of the story.
type Stage struct {
	Number int
	Name   string
	Took   time.Duration
}

// NodeTimes are the moments at which a node reached each phase.
type NodeTimes struct {
	Name string
	// PoweredOn is the start of its machine.
	PoweredOn time.Time
	// Reached holds every phase from installing to ready that was reached, at
	// the time when it was first seen.
	Reached map[api.Phase]time.Time
}

// step is a part of a node's way, between two phases; an empty from is the
// power button.
type step struct {
	name     string
	from, to api.Phase
}

// steps of a node's way.
func steps() []step {
	return []step{
		{"power on to install plan (PXE)", "", api.PhaseInstalling},
		{"image to disk", api.PhaseInstalling, api.PhaseInstalled},
		{"first boot to config", api.PhaseInstalled, api.PhaseConfiguring},
		{"config to running system", api.PhaseConfiguring, api.PhaseBootstrapping},
		{"kubeadm", api.PhaseBootstrapping, api.PhaseReady},
		{"power on to ready", "", api.PhaseReady},
	}
}

// Between returns how long the node took from one phase to another, and
// whether it reached both. An empty from is the power button.
func (n NodeTimes) Between(from, to api.Phase) (time.Duration, bool) {
	begin, ok := n.PoweredOn, !n.PoweredOn.IsZero()
	if from != "" {
		begin, ok = n.Reached[from], !n.Reached[from].IsZero()
	}
	end, reached := n.Reached[to]
	return end.Sub(begin), ok && reached
}

// Total is the sum of all stages, and of the bake.
func (t Timeline) Total() time.Duration {
	total := t.Bake
	for _, s := range t.Stages {
		total += s.Took
	}
	return total
}

// Write prints the timeline as two tables in seconds: the stages, and the
// steps of each node.
func (t Timeline) Write(w io.Writer) error {
	stages := [][]string{{"seconds", "stage"}}
	if t.Bake > 0 {
		stages = append(stages, []string{seconds(t.Bake), "bake"})
	}
	for _, s := range t.Stages {
		stages = append(stages, []string{seconds(s.Took), fmt.Sprintf("%d. %s", s.Number, s.Name)})
	}
	stages = append(stages, []string{seconds(t.Total()), "total"})
	if err := writeTable(w, stages); err != nil {
		return err
	}
	if len(t.Nodes) == 0 {
		return nil
	}

	var header []string
	for _, n := range t.Nodes {
		header = append(header, n.Name)
	}
	nodes := [][]string{append(header, "step")}
	for _, s := range steps() {
		var row []string
		for _, n := range t.Nodes {
			cell := "-"
			if took, ok := n.Between(s.from, s.to); ok {
				cell = seconds(took)
			}
			row = append(row, cell)
		}
		nodes = append(nodes, append(row, s.name))
	}
	return writeTable(w, nodes)
}

// writeTable aligns numbers to the right, and the last column to the left.
func writeTable(w io.Writer, rows [][]string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, row := range rows {
		last := len(row) - 1
		if _, err := fmt.Fprintf(table, "%s\t  %s\n", strings.Join(row[:last], "\t"), row[last]); err != nil {
			return err
		}
	}
	return table.Flush()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()) }
