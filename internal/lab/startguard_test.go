package lab_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/k8snode/k8snode/internal/lab"
)

func TestStartGuard(t *testing.T) {
	const (
		begins = "[    0.000000] Linux version 7.3\n[    0.9] ....  node  #0, CPUs:      #1\n"
		done   = "[    7.4] Run /init as init process\n"
	)
	for _, tt := range []struct {
		name, console string
		// grows is whether the machine says something every minute.
		grows bool
		want  int
	}{
		{"no console", "", false, 0},
		{"firmware waits", "BdsDxe: loading Boot0001\n", false, 0},
		{"a kernel hangs", begins, false, 3},
		{"a slow kernel", begins, true, 0},
		{"a system that is quiet", begins + done, false, 0},
		{"the second kernel hangs", begins + done + begins, false, 3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			console := filepath.Join(t.TempDir(), "console.log")
			if tt.console != "" {
				if err := os.WriteFile(console, []byte(tt.console), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Test(t, func(t *testing.T) {
				resets := 0
				off := make(chan struct{})
				go lab.WatchStart(t.Context(), console, slog.New(slog.DiscardHandler), off, func(context.Context) error {
					resets++
					return nil
				})
				for range 20 {
					time.Sleep(time.Minute)
					if tt.grows {
						appendTo(t, console, "[    1.0] still here\n")
					}
				}
				close(off)
				synctest.Wait()
				if resets != tt.want {
					t.Errorf("%d resets, want %d", resets, tt.want)
				}
			})
		})
	}
}

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
