package k8snode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/multistep"
	"github.com/hashicorp/packer-plugin-sdk/multistep/commonsteps"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/k8snode/k8snode/images"
)

// BuilderID names this builder to post-processors.
const BuilderID = "k8snode.image"

// Builder bakes node images.
type Builder struct {
	Host   Host
	config Config
}

var _ packersdk.Builder = (*Builder)(nil)

// ConfigSpec describes the block "source" to Packer.
func (b *Builder) ConfigSpec() hcldec.ObjectSpec { return b.config.FlatMapstructure().HCL2Spec() }

// Prepare reads the configuration and the recipe, and reports everything that
// is wrong with either. It returns the names that post-processors find as
// build.NAME.
func (b *Builder) Prepare(raws ...any) (variables, warnings []string, err error) {
	if _, err := b.config.read(raws...); err != nil {
		return nil, nil, err
	}
	return []string{dataImageID, dataKernel, dataKubernetes}, nil, nil
}

// Run bakes. The artifact is nil when the build failed or was cancelled.
func (b *Builder) Run(ctx context.Context, ui packersdk.Ui, hook packersdk.Hook) (packersdk.Artifact, error) {
	if err := b.checkOutput(); err != nil {
		return nil, err
	}
	state := new(multistep.BasicStateBag)
	step := &stepBake{config: b.config, host: b.Host, ui: ui, hook: hook}
	runner := commonsteps.NewRunnerWithPauseFn([]multistep.Step{step}, b.config.PackerConfig, ui, state)
	runner.Run(ctx, state)

	if err := ctx.Err(); err != nil {
		return nil, errors.New("interrupted: nothing was written")
	}
	if step.err != nil {
		return nil, step.err
	}
	return newArtifact(b.config.OutputDirectory, step.manifest), nil
}

// checkOutput refuses to replace an image that nobody said may go.
func (b *Builder) checkOutput() error {
	out := b.config.OutputDirectory
	_, err := os.Lstat(out)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("looking at output_directory: %w", err)
	case !b.config.PackerForce:
		return fmt.Errorf("output_directory: %s exists: run Packer with -force to replace it, or name another folder", out)
	}
	// Forced or not, only an image is ever removed.
	if _, err := os.Stat(filepath.Join(out, images.ManifestFile)); err != nil {
		return fmt.Errorf("output_directory: %s is not an image of k8snode, and is not replaced even with -force: %w", out, err)
	}
	return nil
}
