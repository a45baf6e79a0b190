package bootcheck

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
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
	// Recipe is what the image was baked from.
	Recipe images.Recipe
	// K8snode is the path of the program; only the Kubernetes boot needs it.
	K8snode string
	// Accelerator is [qemu.TCG] by default.
	Accelerator qemu.Accelerator
	// Patience is how long one wait may take; 5 minutes by default, and three
	// times that for Kubernetes: emulated machines are slow.
	Patience time.Duration
	// StateDir is that of package lab.
	StateDir string
	// Now is the clock; required.
	Now func() time.Time
	// Logger reports progress; nil discards.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	var problems []error
	for what, path := range map[string]*string{"work": &o.Dir, "image": &o.Image} {
		if *path == "" {
			problems = append(problems, fmt.Errorf("the %s folder is not given", what))
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			problems = append(problems, err)
		}
		*path = abs
	}
	if o.Now == nil {
		problems = append(problems, errors.New("the clock is not given"))
	}
	o.Accelerator = cmp.Or(o.Accelerator, qemu.TCG)
	o.Patience = cmp.Or(o.Patience, 5*time.Minute)
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
	return images.OpenManifest(o.Image)
}

// artifact is the path of a file of the image, which must be there.
func (o Options) artifact(name string) (string, error) {
	path := filepath.Join(o.Image, name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the image in %s has no %s: its recipe must ask for that output", o.Image, name)
	} else if err != nil {
		return "", err
	}
	return path, nil
}
