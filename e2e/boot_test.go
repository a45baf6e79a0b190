package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab/bootcheck"
	"github.com/k8snode/k8snode/internal/qemu"
)

var (
	image4096 = flag.String("image-4096", "", "output `folder` of a bake with spec.disk.sectorSize=4096")
	recipe    = flag.String("recipe", "node", "the `recipe` of the image, embedded or a file")
)

// TestBoot boots the image in every way. To boot it in one:
//
//	go test ./e2e -run 'TestBoot/disk-bios$' -image out/node -k8snode bin/k8snode
func TestBoot(t *testing.T) {
	if *image == "" {
		t.Skip("no -image: make test-boot passes it")
	}
	accelerator, err := qemu.ParseAccelerator(os.Getenv("K8SNODE_ACCEL"))
	if err != nil {
		t.Fatal(err)
	}
	baked, err := images.Load(*recipe, images.LoadOptions{Open: func(file string) (fs.FS, string, error) {
		return os.DirFS(filepath.Dir(file)), filepath.Base(file), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	for _, scenario := range bootcheck.Scenarios() {
		t.Run(scenario.Name, func(t *testing.T) {
			opts := bootcheck.Options{
				Image:       *image,
				Recipe:      baked.Recipe,
				K8snode:     *k8snode,
				Accelerator: accelerator,
				Now:         time.Now,
				Logger:      slog.New(slog.NewTextHandler(os.Stderr, nil)),
			}
			if scenario.SectorSize != 512 {
				if opts.Image = *image4096; opts.Image == "" {
					t.Skip("no -image-4096: make test-boot passes it")
				}
			}
			boot(ctx, t, scenario, opts)
		})
	}
}

// boot performs a scenario; its files stay if it fails.
func boot(ctx context.Context, t *testing.T, scenario bootcheck.Scenario, opts bootcheck.Options) {
	dir, err := os.MkdirTemp("", "k8snode-boot-"+scenario.Name+"-")
	if err != nil {
		t.Fatal(err)
	}
	opts.Dir = dir
	measured, err := bootcheck.Run(ctx, scenario, opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(measured) > 0 {
		var text strings.Builder
		table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		for _, m := range measured {
			fmt.Fprintf(table, "%s\t%.1f s\n", m.What, m.Took.Seconds())
		}
		if err := table.Flush(); err != nil {
			t.Error(err)
		}
		t.Logf("measured:\n%s", text.String())
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}
