//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config

package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/common"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/plugins/packer-k8snode/uilog"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/library"
	"github.com/k8snode/k8snode/provision/publish"
)

// Config is the block "post-processor" of a template.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

	// The socket of a running `k8snode serve --images`. SSH can bring it here
	// from another machine: `ssh -L ./serve.sock:/path/run/k8snode.sock HOST`.
	Socket string `mapstructure:"socket"`
	// A folder of images, for a server that serves it. Exactly one of the two
	// is given.
	Directory string `mapstructure:"directory"`
	// Make the image the one that new installs get. Defaults to false.
	Activate bool `mapstructure:"activate"`
}

// PostProcessor publishes images.
type PostProcessor struct {
	config Config
}

var _ packersdk.PostProcessor = (*PostProcessor)(nil)

// ConfigSpec describes the block to Packer.
func (p *PostProcessor) ConfigSpec() hcldec.ObjectSpec { return p.config.FlatMapstructure().HCL2Spec() }

// Configure reads the block.
func (p *PostProcessor) Configure(raws ...any) error {
	if err := config.Decode(&p.config, &config.DecodeOpts{PluginType: "k8snode-publish", Interpolate: true}, raws...); err != nil {
		return err
	}
	if (p.config.Socket == "") == (p.config.Directory == "") {
		return errors.New("socket, directory: give exactly one of them")
	}
	return nil
}

// PostProcess publishes an image that the builder k8snode made. The artifact
// that it returns is the one that it got.
func (p *PostProcessor) PostProcess(ctx context.Context, ui packersdk.Ui, a packersdk.Artifact) (packersdk.Artifact, bool, bool, error) {
	dir, err := folder(a)
	if err != nil {
		return nil, false, false, err
	}
	target, where, err := p.target()
	if err != nil {
		return nil, false, false, err
	}
	o := publish.Options{Logger: slog.New(uilog.New(ui))}
	if p.config.Activate {
		o.After = publish.Activate
	}
	m, err := publish.Image(ctx, dir, target, o)
	if err != nil {
		return nil, false, false, fmt.Errorf("publishing to %s: %w", where, err)
	}
	ui.Sayf("published image %s to %s", m.ID, where)
	if p.config.Activate {
		ui.Say("new installs get it")
	}
	return a, true, false, nil
}

func (p *PostProcessor) target() (publish.Target, string, error) {
	if p.config.Socket != "" {
		return admin.NewClient(p.config.Socket), p.config.Socket, nil
	}
	l, err := library.Open(p.config.Directory, library.Options{})
	return l, p.config.Directory, err
}

// folder returns the folder of the image, which is where its manifest is.
func folder(a packersdk.Artifact) (string, error) {
	manifest := slices.IndexFunc(a.Files(), func(name string) bool { return filepath.Base(name) == images.ManifestFile })
	if manifest < 0 || !strings.HasPrefix(a.BuilderId(), "k8snode.") {
		return "", fmt.Errorf("publishing %q: it is no image of the builder k8snode", a.Id())
	}
	return filepath.Dir(a.Files()[manifest]), nil
}
