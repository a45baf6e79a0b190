package wholepath

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/qemu"
)

// Options of a run.
type Options struct {
	// Dir is the work folder. It must be empty, or not exist.
	Dir string
	// Image is the output folder of a bake.
	Image string
	// K8snode is the path of the program.
	K8snode string
	// Kubectl is a path too; empty takes the one in the image.
	Kubectl string
	// Accelerator is [qemu.TCG] by default.
	Accelerator qemu.Accelerator
	// BakeTook is shown in the timeline; zero leaves it out.
	BakeTook time.Duration
	// Stall is how long nothing may happen before a wait is given up; 15
	// minutes by default, because an emulated machine imports its container
	// images for several minutes without a word.
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
	if o.Kubectl != "" {
		abs, err := filepath.Abs(o.Kubectl)
		if err != nil {
			problems = append(problems, err)
		}
		o.Kubectl = abs
	}
	if o.Now == nil {
		problems = append(problems, errors.New("the clock is not given"))
	}
	if o.Accelerator == "" {
		o.Accelerator = qemu.TCG
	}
	if o.Stall == 0 {
		o.Stall = 15 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, errors.Join(problems...)
}

// prepare makes the work folder and reads the image's manifest.
func (o Options) prepare() (images.Manifest, error) {
	if err := lab.NewWorkDir(o.Dir); err != nil {
		return images.Manifest{}, err
	}
	for _, program := range []string{o.K8snode, o.Kubectl} {
		if program == "" {
			continue
		}
		if info, err := os.Stat(program); err != nil || info.Mode()&0o111 == 0 {
			return images.Manifest{}, fmt.Errorf("%s is not a program", program)
		}
	}
	return images.OpenManifest(o.Image)
}
