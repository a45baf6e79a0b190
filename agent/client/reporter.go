package client

import (
	"context"
	"log/slog"
	"time"

	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/provision/api"
)

// Defaults of ReporterOptions.
const (
	DefaultInterval   = 2 * time.Second
	DefaultFinalLimit = 2 * time.Minute
)

// ReporterOptions tune a Reporter.
type ReporterOptions struct {
	// Interval is the shortest time between two reports of progress; zero
	// means DefaultInterval.
	Interval time.Duration
	// FinalLimit is how long Final tries; zero means DefaultFinalLimit.
	FinalLimit time.Duration
	// Log gets the reports that did not arrive; nil discards them.
	Log *slog.Logger
}

// A Reporter sends reports beside the work: [Reporter.Progress] never waits,
// and a server that does not answer costs nothing but the reports.
type Reporter struct {
	send   func(context.Context, api.Report) error
	opts   ReporterOptions
	latest chan api.Report
	stop   context.CancelFunc
	ended  chan struct{}
}

// NewReporter starts a reporter that sends through send, usually
// [Client.Report]. The caller ends it with [Reporter.Final].
func NewReporter(ctx context.Context, send func(context.Context, api.Report) error, opts ReporterOptions) *Reporter {
	if opts.Interval <= 0 {
		opts.Interval = DefaultInterval
	}
	if opts.FinalLimit <= 0 {
		opts.FinalLimit = DefaultFinalLimit
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(ctx)
	r := &Reporter{
		send: send, opts: opts, stop: stop,
		latest: make(chan api.Report, 1),
		ended:  make(chan struct{}),
	}
	go r.loop(ctx)
	return r
}

func (r *Reporter) loop(ctx context.Context) {
	defer close(r.ended)
	for {
		select {
		case <-ctx.Done():
			return
		case report := <-r.latest:
			if err := r.send(ctx, report); err != nil && ctx.Err() == nil {
				r.opts.Log.Warn("report not delivered", "error", err)
			}
			retry.Sleep(ctx, r.opts.Interval)
		}
	}
}

// Progress hands over a report; it replaces one that was not sent yet.
// One goroutine at a time may call it.
func (r *Reporter) Progress(report api.Report) {
	select {
	case <-r.latest:
	default:
	}
	select {
	case r.latest <- report:
	default:
	}
}

// Final ends the reporter and sends a last report, with retries: the server
// moves on by it. It returns the error for the caller to print; the work is
// done whether or not anybody heard of it.
func (r *Reporter) Final(ctx context.Context, report api.Report) error {
	r.stop()
	<-r.ended
	return retry.Do(ctx, retry.Policy{Limit: r.opts.FinalLimit}, func(ctx context.Context) error {
		return r.send(ctx, report)
	})
}
