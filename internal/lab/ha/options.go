package ha

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"
)

// Options of a story.
type Options struct {
	// Dir is the work folder. It must be empty, or not exist.
	Dir string
	// Image is the output folder of a bake.
	Image string
	// K8snode is the path of the program.
	K8snode string
	// Kernel is the folder of the machines' kernel, of package umlkernel.
	Kernel string
	// Change changes the cluster document before it is used; nil leaves it.
	Change func(document []byte) []byte
	// Netboot makes the machines begin with empty disks: their firmware asks the
	// server of [Cluster.StartServer], which installs them.
	Netboot bool
	// MoreImages are output folders of further bakes, which that server has too.
	MoreImages []string
	// EtcdDiskGiB gives each machine a disk of its own for etcd, /dev/ubdb.
	EtcdDiskGiB int
	// ShareGiB gives each machine a disk with an ext4 file system that outlives
	// [Cluster.Wipe], /dev/ubdc: what storage elsewhere is to a machine.
	ShareGiB int
	// Stall is how long nothing may happen before a wait is given up; 5 minutes
	// by default.
	Stall time.Duration
	// StateDir is that of [lab.Options].
	StateDir string
	// Now is the clock; required.
	Now func() time.Time
	// Logger reports progress; nil discards.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	var problems []error
	for _, path := range []struct {
		what string
		path *string
	}{
		{"the work folder", &o.Dir},
		{"the image folder", &o.Image},
		{"the k8snode program", &o.K8snode},
		{"the kernel", &o.Kernel},
	} {
		if *path.path == "" {
			problems = append(problems, fmt.Errorf("%s is not given", path.what))
			continue
		}
		abs, err := filepath.Abs(*path.path)
		if err != nil {
			problems = append(problems, err)
		}
		*path.path = abs
	}
	if o.Now == nil {
		problems = append(problems, errors.New("the clock is not given"))
	}
	if o.Stall == 0 {
		o.Stall = 5 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, errors.Join(problems...)
}
