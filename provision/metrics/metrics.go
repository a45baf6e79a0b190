package metrics

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
)

// A Source knows the nodes.
type Source interface {
	Nodes(ctx context.Context) ([]admin.Node, error)
	Strangers(ctx context.Context) ([]admin.Stranger, error)
}

// Options say what is counted.
type Options struct {
	// Source and Now are required.
	Source Source
	Now    func() time.Time

	// Version and Revision are those of the program.
	Version, Revision string
	// PerNode adds two series for each node: its phase and its refused requests.
	PerNode bool
	// SilentAfter is how long a machine may say nothing during an install, 15
	// minutes by default.
	SilentAfter time.Duration
	// Timeout bounds the reading of the nodes, 10 seconds by default.
	Timeout time.Duration
}

// Metrics are the counters of one server. They are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	now      func() time.Time

	started, finished, failed, delivered prometheus.Counter
	refused, logins                      *prometheus.CounterVec
	artifactBytes                        prometheus.Counter
	durations                            *prometheus.HistogramVec
	inFlight                             *prometheus.GaugeVec
}

// New returns metrics that begin at 0, with those of the process.
func New(opts Options) (*Metrics, error) {
	if opts.Source == nil || opts.Now == nil {
		return nil, errors.New("making the metrics: they need the nodes and a clock")
	}
	if opts.SilentAfter <= 0 {
		opts.SilentAfter = 15 * time.Minute
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 10 * time.Second
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "k8snode_" + name, Help: help})
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(), now: opts.Now,
		started:   counter("installs_started_total", "Install plans that machines fetched."),
		finished:  counter("installs_finished_total", "Nodes that became ready."),
		failed:    counter("installs_failed_total", "Nodes that reported an error."),
		delivered: counter("config_deliveries_total", "Configs that were delivered to their one reader, repetitions included."),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "k8snode_requests_refused_total", Help: "Requests that were refused, by what was asked.",
		}, []string{"action"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "k8snode_logins_total", Help: "Logins of operators, by what became of them.",
		}, []string{"result"}),
		artifactBytes: counter("artifact_bytes_total", "Bytes of kernels, initramfs and images that were sent."),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "k8snode_http_request_duration_seconds", Help: "How long requests took, to the last byte of the answer.",
			Buckets: []float64{0.005, 0.025, 0.1, 0.5, 1, 5, 30, 120, 600, 1800},
		}, []string{"side", "handler", "code"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "k8snode_http_requests_in_flight", Help: "Requests that are being answered.",
		}, []string{"side"}),
	}
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "k8snode_build_info", Help: "Always 1; its labels say what runs.",
	}, []string{"version", "revision", "goversion"})
	info.WithLabelValues(opts.Version, opts.Revision, runtime.Version()).Set(1)
	// A series that is there from the start can be seen to grow.
	for _, action := range actions() {
		m.refused.WithLabelValues(action)
	}
	for _, result := range []string{"granted", "refused"} {
		m.logins.WithLabelValues(result)
	}
	for _, side := range []string{sideBoot, sideMachine, sideOperator} {
		m.inFlight.WithLabelValues(side)
	}
	for _, c := range []prometheus.Collector{
		m.started, m.finished, m.failed, m.delivered, m.refused, m.logins, m.artifactBytes, m.durations, m.inFlight, info,
		newFleet(opts), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := m.registry.Register(c); err != nil {
			return nil, fmt.Errorf("internal error: registering a metric: %w", err)
		}
	}
	return m, nil
}

// Handler serves the metrics. It has no authentication of its own.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		// What can be read is served; what cannot says so by its own metric.
		ErrorHandling: promhttp.ContinueOnError,
	})
}

// other is the value of a label for what is in no list.
const other = "other"

// actions are those of the audit that can be refused.
func actions() []string {
	return []string{"arm", "disarm", "seed", "plan", "config", "report", "renew", "publish", "activate", "remove", "login", "change", other}
}

// Audited counts an event of the audit.
func (m *Metrics) Audited(e audit.Event) {
	switch {
	case e.Result == "refused":
		action := e.Action
		if !slices.Contains(actions(), action) {
			action = other
		}
		m.refused.WithLabelValues(action).Inc()
	case e.Action == "plan" && e.Result == "granted":
		m.started.Inc()
	case e.Action == "config" && e.Result == "delivered":
		m.delivered.Inc()
	}
	if e.Action == "login" && (e.Result == "granted" || e.Result == "refused") {
		m.logins.WithLabelValues(e.Result).Inc()
	}
}

// Reached counts a phase that a node has reached and was not in before.
func (m *Metrics) Reached(p api.Phase) {
	switch p {
	case api.PhaseReady:
		m.finished.Inc()
	case api.PhaseFailed:
		m.failed.Inc()
	}
}
