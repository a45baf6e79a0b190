package cli_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/internal/cli"
)

// terminal collects what is written, from several goroutines.
type terminal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *terminal) take() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.b.String()
	t.b.Reset()
	return s
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var term terminal
		h, stop := cli.NewProgress(&term, time.Now, time.Second)
		log := slog.New(h)

		log.Debug("running", "step", "base")
		log.Debug("cached", "step", "other")
		if got := term.take(); got != "" {
			t.Errorf("the beginning: %q", got)
		}
		time.Sleep(2100 * time.Millisecond)
		synctest.Wait()
		if got, want := term.take(), cli.EraseLine+"... base 1s"+cli.EraseLine+"... base 2s"; got != want {
			t.Errorf("meanwhile: %q, want %q", got, want)
		}
		// Steps run side by side.
		log.Debug("running", "step", "module a")
		log.Debug("running", "step", "module b")
		time.Sleep(time.Second)
		synctest.Wait()
		if got, want := term.take(), cli.EraseLine+"... base 3s, module a 0s, 1 more"; got != want {
			t.Errorf("three of them: %q, want %q", got, want)
		}
		log.Info("done", "step", "module a", "took", time.Second)
		log.Info("done", "step", "base", "took", 1234*time.Millisecond)
		if got, want := term.take(), cli.EraseLine+"    1.0 s  module a\n"+cli.EraseLine+"    1.2 s  base\n"; got != want {
			t.Errorf("their ends: %q, want %q", got, want)
		}
		log.Warn("what else there is")
		if got := term.take(); !strings.HasPrefix(got, cli.EraseLine+"time=") || !strings.HasSuffix(got, "msg=\"what else there is\"\n") {
			t.Errorf("a line of the log: %q", got)
		}
		log.Info("done", "step", "module b")
		term.take()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if got := term.take(); got != "" {
			t.Errorf("between steps: %q", got)
		}
		stop()
		if got := term.take(); got != cli.EraseLine {
			t.Errorf("at the end: %q", got)
		}
	})
}

// While a step fetches, the line says how far it is.
func TestProgressOfFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mib = 1 << 20
		var term terminal
		h, stop := cli.NewProgress(&term, time.Now, time.Second)
		defer stop()
		log := slog.New(h)
		log.Debug("running", "step", "fetch")
		term.take()
		cli.Fetching(h, builder.Progress{Files: 1, TotalFiles: 310, Bytes: mib, TotalBytes: 540 * mib})
		cli.Fetching(h, builder.Progress{Files: 123, TotalFiles: 310, Bytes: 24*mib + 1, TotalBytes: 540 * mib})
		if got := term.take(); got != "" {
			t.Errorf("drawn at once: %q", got)
		}
		time.Sleep(2100 * time.Millisecond)
		synctest.Wait()
		want := cli.EraseLine + "... fetch 123/310 files 24/540 MiB 24.0 MiB/s 1s" + cli.EraseLine + "... fetch 123/310 files 24/540 MiB 12.0 MiB/s 2s"
		if got := term.take(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		// The next step begins without it.
		log.Info("done", "step", "fetch")
		log.Debug("running", "step", "base")
		term.take()
		time.Sleep(time.Second)
		synctest.Wait()
		if got, want := term.take(), cli.EraseLine+"... base 0s"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}
