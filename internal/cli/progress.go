package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/k8snode/k8snode/builder"
)

// progress is a log handler for a terminal: one line for each step that is done
// and, below them, one that says which steps run, and for how long. A step
// begins with the message "running" and ends with "done", both with the
// attribute "step"; everything else is logged as usual.
type progress struct {
	slog.Handler
	line *progressLine
}

type progressLine struct {
	w   io.Writer
	now func() time.Time

	mu      sync.Mutex
	running []runningStep
	// fetched is how far the step is that fetches.
	fetched builder.Progress
}

type runningStep struct {
	name  string
	since time.Time
}

// newProgress returns a handler that writes to w, and a function that ends it.
func newProgress(w io.Writer, now func() time.Time, every time.Duration) (progress, func()) {
	p := progress{slog.NewTextHandler(w, nil), &progressLine{w: w, now: now}}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		t := time.NewTicker(every)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				p.line.draw()
			case <-stop:
				p.line.clear()
				return
			}
		}
	}()
	return p, func() { close(stop); <-stopped }
}

// Enabled lets the beginnings of steps through, which are not for a log.
func (p progress) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelDebug }

// Handle writes the record above the line, or changes the line.
func (p progress) Handle(ctx context.Context, r slog.Record) error {
	var step string
	var took time.Duration
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "step":
			step = a.Value.String()
		case "took":
			took, _ = a.Value.Any().(time.Duration)
		}
		return true
	})
	p.line.mu.Lock()
	defer p.line.mu.Unlock()
	switch {
	case r.Message == "running" && step != "":
		p.line.running = append(p.line.running, runningStep{step, p.line.now()})
		p.line.fetched = builder.Progress{}
	case r.Message == "done" && step != "":
		p.line.running = slices.DeleteFunc(p.line.running, func(s runningStep) bool { return s.name == step })
		fmt.Fprintf(p.line.w, "%s%7.1f s  %s\n", eraseLine, took.Seconds(), step)
	case r.Level >= slog.LevelInfo:
		fmt.Fprint(p.line.w, eraseLine)
		return p.Handler.Handle(ctx, r)
	}
	return nil
}

// WithAttrs and WithGroup keep the line.
func (p progress) WithAttrs(attrs []slog.Attr) slog.Handler {
	return progress{p.Handler.WithAttrs(attrs), p.line}
}

func (p progress) WithGroup(name string) slog.Handler {
	return progress{p.Handler.WithGroup(name), p.line}
}

const eraseLine = "\r\x1b[K"

// lineSteps is how many steps the line names.
const lineSteps = 2

// fetch notes how far the downloads of a step are. They say so often: the line
// is drawn when its time comes.
func (l *progressLine) fetch(p builder.Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fetched = p
}

func (l *progressLine) draw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.running) == 0 {
		return
	}
	last := l.running[len(l.running)-1]
	if l.fetched.TotalFiles > 0 {
		took := l.now().Sub(last.since)
		fmt.Fprintf(l.w, "%s... %s %s %s", eraseLine, last.name, fetchedSoFar(l.fetched, took), took.Truncate(time.Second))
		return
	}
	var parts []string
	for _, s := range l.running[:min(lineSteps, len(l.running))] {
		parts = append(parts, fmt.Sprintf("%s %s", s.name, l.now().Sub(s.since).Truncate(time.Second)))
	}
	if more := len(l.running) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	fmt.Fprintf(l.w, "%s... %s", eraseLine, strings.Join(parts, ", "))
}

// fetchedSoFar is for instance "123/310 files 210/540 MiB 12.3 MiB/s".
func fetchedSoFar(p builder.Progress, took time.Duration) string {
	const mib = 1 << 20
	text := fmt.Sprintf("%d/%d files %d/%d MiB", p.Files, p.TotalFiles, p.Bytes/mib, p.TotalBytes/mib)
	if took > 0 {
		text += fmt.Sprintf(" %.1f MiB/s", float64(p.Bytes)/mib/took.Seconds())
	}
	return text
}

func (l *progressLine) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprint(l.w, eraseLine)
}
