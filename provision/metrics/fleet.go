package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
)

// fleet counts nodes when somebody asks.
type fleet struct {
	opts Options

	up, nodes, open, held, silent, refusals, unknown *prometheus.Desc
	// phase and refused are of each node.
	phase, refused *prometheus.Desc
}

var _ prometheus.Collector = (*fleet)(nil)

func newFleet(opts Options) *fleet {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("k8snode_"+name, help, labels, nil)
	}
	return &fleet{
		opts:     opts,
		up:       desc("store_up", "1 when the nodes could be read, else 0."),
		nodes:    desc("nodes", "Nodes of the cluster document, by phase.", "phase"),
		open:     desc("windows_open", "Nodes with an open install window."),
		held:     desc("nodes_held", "Nodes that installed too often in the window that is open."),
		silent:   desc("nodes_silent", "Nodes that are being installed and have said nothing for too long."),
		refusals: desc("refusals_total", "Refused requests for nodes, since each was added; they outlive the server."),
		unknown:  desc("unknown_machines", "Machines that asked and are no nodes."),
		phase:    desc("node_phase", "Always 1; its label says the phase of the node.", "node", "phase"),
		refused:  desc("node_refusals_total", "Refused requests for the node, since it was added.", "node"),
	}
}

// Describe implements [prometheus.Collector].
func (f *fleet) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{f.up, f.nodes, f.open, f.held, f.silent, f.refusals, f.unknown} {
		descs <- d
	}
	if f.opts.PerNode {
		descs <- f.phase
		descs <- f.refused
	}
}

// phases are all of them: a phase without nodes has 0.
func phases() []api.Phase {
	return []api.Phase{
		api.PhaseRegistered, api.PhaseArmed, api.PhaseInstalling, api.PhaseInstalled,
		api.PhaseConfiguring, api.PhaseBootstrapping, api.PhaseReady, api.PhaseFailed,
	}
}

// Collect implements [prometheus.Collector].
func (f *fleet) Collect(metrics chan<- prometheus.Metric) {
	set := func(d *prometheus.Desc, t prometheus.ValueType, value int, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, t, float64(value), labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.opts.Timeout)
	defer cancel()
	nodes, err := f.opts.Source.Nodes(ctx)
	var strangers []admin.Stranger
	if err == nil {
		strangers, err = f.opts.Source.Strangers(ctx)
	}
	if err != nil {
		set(f.up, prometheus.GaugeValue, 0)
		return
	}
	set(f.up, prometheus.GaugeValue, 1)
	count := make(map[api.Phase]int)
	var open, held, silent, refusals int
	now := f.opts.Now()
	for _, n := range nodes {
		count[n.Phase]++
		refusals += n.Refused
		if n.Open {
			open++
		}
		if n.Open && n.Held {
			held++
		}
		if f.silentAt(n, now) {
			silent++
		}
		if f.opts.PerNode {
			set(f.phase, prometheus.GaugeValue, 1, n.Name, string(n.Phase))
			set(f.refused, prometheus.CounterValue, n.Refused, n.Name)
		}
	}
	for _, p := range phases() {
		set(f.nodes, prometheus.GaugeValue, count[p], string(p))
	}
	set(f.open, prometheus.GaugeValue, open)
	set(f.held, prometheus.GaugeValue, held)
	set(f.silent, prometheus.GaugeValue, silent)
	set(f.refusals, prometheus.CounterValue, refusals)
	set(f.unknown, prometheus.GaugeValue, len(strangers))
}

func (f *fleet) silentAt(n admin.Node, now time.Time) bool {
	switch n.Phase {
	case api.PhaseInstalling, api.PhaseInstalled, api.PhaseConfiguring, api.PhaseBootstrapping:
		return !n.LastReport.IsZero() && now.Sub(n.LastReport) >= f.opts.SilentAfter
	}
	return false
}
