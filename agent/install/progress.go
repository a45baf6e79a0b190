package install

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/k8snode/k8snode/agent/client"
	"github.com/k8snode/k8snode/provision/api"
)

// A progress counts the bytes of one step; every interval it prints a line and
// hands over a report, when something has changed.
type progress struct {
	step     string
	total    int64
	console  io.Writer
	reporter *client.Reporter

	done  atomic.Int64
	quit  chan struct{}
	ended sync.WaitGroup
}

func startProgress(step string, total int64, interval time.Duration, console io.Writer, r *client.Reporter) *progress {
	p := &progress{step: step, total: total, console: console, reporter: r, quit: make(chan struct{})}
	p.show()
	p.ended.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		last := int64(0)
		for {
			select {
			case <-p.quit:
				return
			case <-ticker.C:
				if now := p.done.Load(); now != last {
					last = now
					p.show()
				}
			}
		}
	})
	return p
}

func (p *progress) add(n int64) { p.done.Add(n) }

// stop shows where the step ended.
func (p *progress) stop() {
	close(p.quit)
	p.ended.Wait()
	p.show()
}

func (p *progress) show() {
	done := p.done.Load()
	fmt.Fprintf(p.console, "k8snode: %s: %d of %d MiB (%d%%)\n", p.step, done/mib, p.total/mib, done*100/max(p.total, 1))
	p.reporter.Progress(api.Report{Phase: api.PhaseInstalling, Step: p.step, Done: done, Total: p.total})
}

// A lockedWriter lets progress and messages share the console.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
