package e2e_test

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/k8snode/k8snode/internal/lab/ha"
	"github.com/k8snode/k8snode/internal/lab/umlkernel"
)

var cacheDir = flag.String("cache", "", "cache `folder` (default $XDG_CACHE_HOME/k8snode)")

// newCluster makes the machines of a cluster; its files stay if the test fails.
func newCluster(ctx context.Context, t *testing.T, change func([]byte) []byte) *ha.Cluster {
	t.Helper()
	if *image == "" {
		t.Skip("no -image: make test passes it")
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cache := *cacheDir
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(user, "k8snode")
	}
	kernel, err := umlkernel.Fetch(ctx, umlkernel.Options{Cache: cache, Env: os.Environ(), Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "k8snode-ha-")
	if err != nil {
		t.Fatal(err)
	}
	c, err := ha.New(ctx, ha.Options{
		Dir: dir, Image: *image, K8snode: *k8snode, Kernel: kernel, Change: change, Now: time.Now, Logger: logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
		if !t.Failed() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		}
	})
	return c
}

// TestCluster has three control planes and a worker become a cluster, and one
// control plane come back with an empty disk.
func TestCluster(t *testing.T) {
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := newCluster(ctx, t, nil)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(c.Explain(ctx, err))
		}
	}
	check(c.PowerOn(ctx, c.Nodes()...))
	check(c.WaitReady(ctx, c.Nodes()...))
}
