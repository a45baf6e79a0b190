package e2e_test

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/k8snode/k8snode/internal/lab/wholepath"
	"github.com/k8snode/k8snode/internal/qemu"
)

var (
	image    = flag.String("image", "", "output `folder` of a bake")
	k8snode  = flag.String("k8snode", "", "the k8snode `program`")
	kubectl  = flag.String("kubectl", "", "the kubectl `program`, by default the one in the image")
	bakeTook = flag.Duration("bake-took", 0, "how long the bake took, for the timeline")
	workDir  = flag.String("dir", "", "work `folder`, new or empty; by default a temporary one that is removed if the test passes")
	keep     = flag.Bool("keep", false, "leave the cluster running; stop it with make lab-stop")
)

// TestWholePath turns two empty machines into a cluster whose pod answers.
func TestWholePath(t *testing.T) {
	if *image == "" {
		t.Skip("no -image: make test passes it")
	}
	accelerator, err := qemu.ParseAccelerator(os.Getenv("K8SNODE_ACCEL"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	dir := *workDir
	if dir == "" {
		// Not t.TempDir: the folder must survive a failure.
		if dir, err = os.MkdirTemp("", "k8snode-e2e-"); err != nil {
			t.Fatal(err)
		}
	}
	cluster, err := wholepath.Run(ctx, wholepath.Options{
		Dir:         dir,
		Image:       *image,
		K8snode:     *k8snode,
		Kubectl:     *kubectl,
		Accelerator: accelerator,
		BakeTook:    *bakeTook,
		Now:         time.Now,
		Logger:      slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	var timeline strings.Builder
	if err := cluster.Timeline.Write(&timeline); err != nil {
		t.Error(err)
	}
	t.Logf("timeline:\n%s", timeline.String())
	if *keep {
		if err := cluster.Keep(); err != nil {
			t.Fatal(err)
		}
		t.Logf("the cluster runs, files in %s: %s get nodes", dir, cluster.KubectlCommand())
		return
	}
	if err := cluster.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if *workDir == "" {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	}
}
