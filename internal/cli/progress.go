package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/k8snode/k8snode/builder"
)

// progress is a log handler for a terminal: below the log it keeps one line
// that says which step runs and for how long. A step begins with the message
// "running" and ends with "done", both with the attribute "step".
type progress struct {
	slog.Handler
	line *progressLine
}

type progressLine struct {
	w   io.Writer
	now func() time.Time

	mu    sync.Mutex
	step  string
	since time.Time
	// fetched is how far the step is, if it is one that fetches.
	fetched builder.Progress
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

// Handle writes the record above the line.
func (p progress) Handle(ctx context.Context, r slog.Record) error {
	var step string
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "step" {
			step = a.Value.String()
		}
		return true
	})
	p.line.mu.Lock()
	defer p.line.mu.Unlock()
	fmt.Fprint(p.line.w, eraseLine)
	switch r.Message {
	case "running":
		p.line.step, p.line.since, p.line.fetched = step, p.line.now(), builder.Progress{}
	case "done":
		p.line.step = ""
	}
	return p.Handler.Handle(ctx, r)
}

// WithAttrs and WithGroup keep the line.
func (p progress) WithAttrs(attrs []slog.Attr) slog.Handler {
	return progress{p.Handler.WithAttrs(attrs), p.line}
}

func (p progress) WithGroup(name string) slog.Handler {
	return progress{p.Handler.WithGroup(name), p.line}
}

const eraseLine = "\r\x1b[K"

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
	if l.step == "" {
		return
	}
	took := l.now().Sub(l.since)
	if l.fetched.TotalFiles == 0 {
		fmt.Fprintf(l.w, "%s%s ... %s", eraseLine, l.step, took.Truncate(time.Second))
		return
	}
	fmt.Fprintf(l.w, "%s%s %s %s", eraseLine, l.step, fetchedSoFar(l.fetched, took), took.Truncate(time.Second))
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
