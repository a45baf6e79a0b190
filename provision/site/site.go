package site

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/k8snode/k8snode/provision/access"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/metrics"
	"github.com/k8snode/k8snode/provision/ui"
)

// Options say what is shown, and to whom.
type Options struct {
	// Backend, Now and Rand are required.
	Backend admin.Backend
	// Images is what the API says of images; nil says nothing.
	Images admin.Library
	// Record puts an event in the audit; nil records nothing.
	Record func(audit.Event) error
	// Trail reads the audit for the pages; nil shows none.
	Trail *ui.Trail

	// Access says who is let in. Its Page, Public, Audit, Now, Rand and Logger
	// are the site's own.
	Access access.Options
	// Certificate is that of the site.
	Certificate tls.Certificate
	// Counted is how the metrics count. Its Source and Now are the site's own.
	Counted metrics.Options

	// Cluster is the name of the cluster, for people with several.
	Cluster string
	Now     func() time.Time
	Rand    io.Reader
	// Logger is never given a secret; nil discards.
	Logger *slog.Logger
}

// A Site is what operators reach.
type Site struct {
	guard       *access.Guard
	metrics     *metrics.Metrics
	handler     http.Handler
	certificate tls.Certificate
	now         func() time.Time
}

// New returns the site of a server.
func New(opts Options) (*Site, error) {
	if opts.Backend == nil || opts.Now == nil || opts.Rand == nil {
		return nil, errors.New("making the operators' site: it needs a backend, a clock and a source of randomness")
	}
	s := &Site{certificate: opts.Certificate, now: opts.Now}
	var err error
	opts.Counted.Source, opts.Counted.Now = opts.Backend, opts.Now
	if s.metrics, err = metrics.New(opts.Counted); err != nil {
		return nil, err
	}
	pages, err := ui.New(ui.Options{
		Backend: opts.Backend, Trail: opts.Trail, Cluster: opts.Cluster, Now: opts.Now, Logger: opts.Logger,
	})
	if err != nil {
		return nil, err
	}
	a := opts.Access
	a.Page, a.Public = pages.Page, []string{ui.AssetsPrefix, healthPath}
	a.Audit = recorder(opts.Record)
	a.Now, a.Rand, a.Logger = opts.Now, opts.Rand, opts.Logger
	if s.guard, err = access.New(a); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(admin.Prefix+"/", http.StripPrefix(admin.Prefix, admin.NewHandler(opts.Backend, opts.Images)))
	mux.Handle("GET /metrics", s.metrics.Handler())
	mux.HandleFunc("GET "+healthPath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("/", pages.Handler())
	s.handler = s.metrics.Operator(s.guard.Middleware(mux))
	return s, nil
}

const healthPath = "/healthz"

// recorder turns what the guard says into events of the audit.
func recorder(record func(audit.Event) error) func(context.Context, access.Event) error {
	if record == nil {
		return nil
	}
	return func(_ context.Context, e access.Event) error {
		detail := e.Identity.String()
		if e.Detail != "" {
			detail += ": " + e.Detail
		}
		return record(audit.Event{Address: e.Address, Action: e.Action, Result: e.Result, Detail: detail})
	}
}

// Handler serves everything.
func (s *Site) Handler() http.Handler { return s.handler }

// Metrics is what the server tells what it does.
func (s *Site) Metrics() *metrics.Metrics { return s.metrics }

// TLS is for the listener. Browsers speak TLS 1.3, as everything of ours does.
func (s *Site) TLS() *tls.Config {
	c := &tls.Config{
		Certificates: []tls.Certificate{s.certificate}, MinVersion: tls.VersionTLS13,
		NextProtos: []string{"http/1.1"}, Time: s.now,
	}
	s.guard.AskForCertificate(c)
	return c
}
