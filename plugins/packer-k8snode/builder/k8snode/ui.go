package k8snode

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/k8snode/k8snode/builder"
)

// handler writes what the builder logs to Packer's UI: a line for each step
// that is done, and warnings as errors, which Packer shows in red.
type handler struct {
	ui    packersdk.Ui
	attrs string
}

// Enabled leaves out what is for debugging.
func (h handler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle writes one line.
func (h handler) Handle(_ context.Context, r slog.Record) error {
	var step string
	var took time.Duration
	var rest strings.Builder
	rest.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "step":
			step = a.Value.String()
		case "took":
			took, _ = a.Value.Any().(time.Duration)
		default:
			rest.WriteString(text(a))
		}
		return true
	})
	switch {
	case r.Message == "done" && step != "":
		h.ui.Sayf("%7.1f s  %s", took.Seconds(), step)
	case r.Level >= slog.LevelWarn:
		h.ui.Error(r.Message + rest.String())
	default:
		h.ui.Say(r.Message + rest.String())
	}
	return nil
}

// WithAttrs adds to every line.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.attrs += text(a)
	}
	return h
}

// WithGroup changes nothing: the builder has no groups.
func (h handler) WithGroup(string) slog.Handler { return h }

func text(a slog.Attr) string { return fmt.Sprintf(" %s=%v", a.Key, a.Value) }

// progressEvery is how often a fetch says how far it is: a line that moves is
// not to be had in Packer's UI.
const progressEvery = 5 * time.Second

// progress says how far a fetch is.
type progress struct {
	ui  packersdk.Ui
	now func() time.Time

	mu          sync.Mutex
	began, said time.Time
}

func newProgress(ui packersdk.Ui, now func() time.Time) *progress { return &progress{ui: ui, now: now} }

func (p *progress) fetched(at builder.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.began.IsZero() {
		p.began, p.said = now, now
	}
	if now.Sub(p.said) < progressEvery {
		return
	}
	p.said = now
	const mib = 1 << 20
	p.ui.Sayf("fetched %d/%d files, %d/%d MiB, %.1f MiB/s", at.Files, at.TotalFiles, at.Bytes/mib, at.TotalBytes/mib,
		float64(at.Bytes)/mib/now.Sub(p.began).Seconds())
}

// summarize tells programs that read Packer's output of every step and artifact.
func summarize(ui packersdk.Ui, r builder.Result) {
	for _, t := range r.Timings {
		took := fmt.Sprintf("%.3f", t.Took.Seconds())
		if t.Cached {
			took = "cached"
		}
		ui.Machine("k8snode-step", t.Step, took)
	}
	for _, a := range r.Manifest.Artifacts {
		ui.Machine("k8snode-artifact", a.Path, fmt.Sprint(a.Size), a.SHA256)
	}
}
