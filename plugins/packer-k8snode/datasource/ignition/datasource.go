//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config,DatasourceOutput

package ignition

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/hcl2helper"
	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/zclconf/go-cty/cty"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/internal/nodeconfig"
)

// Config is the block "data" of a template.
type Config struct {
	// The cluster document. Defaults to `cluster.yaml`.
	Cluster string `mapstructure:"cluster"`
	// The secrets of the cluster, as `k8snode secrets init` makes them.
	// Defaults to `secrets.age`.
	Secrets string `mapstructure:"secrets"`
	// The passphrase of the secrets. Give it with a variable that has
	// `sensitive = true`.
	Passphrase string `mapstructure:"passphrase"`
	// A file whose first line is the passphrase. Exactly one of the two is
	// given.
	PassphraseFile string `mapstructure:"passphrase_file"`
	// The folder of the image that will read the config, which is checked
	// against the Ignition in it.
	Image string `mapstructure:"image" required:"true"`
	// The name of the node in the cluster document.
	Node string `mapstructure:"node" required:"true"`
	// The cluster does not exist yet: its first control plane may begin it,
	// within two hours. Defaults to `false`.
	NewCluster bool `mapstructure:"new_cluster"`
}

// DatasourceOutput is what a template finds as data.k8snode-ignition.NAME. All
// but the digest and the role are secret.
type DatasourceOutput struct {
	// The Ignition config, JSON. It holds private keys.
	Ignition string `mapstructure:"ignition"`
	// The Butane document that it was rendered from. It holds private keys.
	Butane string `mapstructure:"butane"`
	// The SHA-256 of the Ignition config, hexadecimal.
	Digest string `mapstructure:"digest"`
	// The role of the node: `controlPlane` or `worker`.
	Role string `mapstructure:"role"`
}

// Datasource renders the config of a node.
type Datasource struct {
	// Now and Rand are the clock, and a source of secret bytes.
	Now    func() time.Time
	Rand   io.Reader
	config Config
}

var _ packersdk.Datasource = (*Datasource)(nil)

// ConfigSpec describes the block "data" to Packer.
func (d *Datasource) ConfigSpec() hcldec.ObjectSpec { return d.config.FlatMapstructure().HCL2Spec() }

// OutputSpec describes what Execute returns.
func (d *Datasource) OutputSpec() hcldec.ObjectSpec {
	return (&DatasourceOutput{}).FlatMapstructure().HCL2Spec()
}

// Configure reads the block, and reports everything that is wrong with it.
func (d *Datasource) Configure(raws ...any) error {
	if err := config.Decode(&d.config, &config.DecodeOpts{PluginType: "k8snode-ignition", Interpolate: true}, raws...); err != nil {
		return err
	}
	c := &d.config
	if c.Cluster == "" {
		c.Cluster = "cluster.yaml"
	}
	if c.Secrets == "" {
		c.Secrets = "secrets.age"
	}
	var all packersdk.MultiError
	check := func(wrong bool, format string, args ...any) {
		if wrong {
			all.Errors = append(all.Errors, fmt.Errorf(format, args...))
		}
	}
	check(c.Image == "", "image: name the folder of a baked image")
	check(c.Node == "", "node: name a node of %s", c.Cluster)
	check((c.Passphrase == "") == (c.PassphraseFile == ""), "passphrase, passphrase_file: give exactly one of them")
	if c.Passphrase != "" {
		packersdk.LogSecretFilter.Set(c.Passphrase)
	}
	if len(all.Errors) > 0 {
		return &all
	}
	return nil
}

// Execute renders the config.
func (d *Datasource) Execute() (cty.Value, error) {
	c := d.config
	spec, bundle, err := nodeconfig.Load(c.Cluster, c.Secrets, nodeconfig.WithPassphrase(c.passphrase))
	if err != nil {
		return cty.NilVal, err
	}
	node, ok := spec.Node(c.Node)
	if !ok {
		return cty.NilVal, fmt.Errorf("node: %s has no node %q: its nodes are %s", c.Cluster, c.Node, names(spec))
	}
	image, err := nodeconfig.OpenImage(c.Image, spec)
	if err != nil {
		return cty.NilVal, fmt.Errorf("image: %w", err)
	}
	manifests, err := nodeconfig.Manifests(c.Cluster, spec)
	if err != nil {
		return cty.NilVal, err
	}
	rendered, err := nodeconfig.Render(nodeconfig.Options{
		Cluster: spec, Bundle: bundle, Image: image, Node: c.Node, Manifests: manifests, NewCluster: c.NewCluster,
		ReportToken: nodeconfig.WithheldToken, Now: d.Now(), Rand: d.Rand,
	})
	if err != nil {
		return cty.NilVal, err
	}
	out := DatasourceOutput{
		Ignition: string(rendered.Ignition.Bytes()), Butane: string(rendered.Butane),
		Digest: rendered.Ignition.Digest(), Role: string(node.Role),
	}
	packersdk.LogSecretFilter.Set(out.Ignition, out.Butane)
	return hcl2helper.HCL2ValueFromConfig(out, d.OutputSpec()), nil
}

func (c Config) passphrase() (string, error) {
	if c.Passphrase != "" {
		return c.Passphrase, nil
	}
	b, err := os.ReadFile(c.PassphraseFile)
	if err != nil {
		return "", fmt.Errorf("passphrase_file: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", errors.New("passphrase_file: the first line is empty")
	}
	packersdk.LogSecretFilter.Set(line)
	return line, nil
}

func names(c cluster.Cluster) string {
	var all []string
	for _, n := range c.Spec.Nodes {
		all = append(all, n.Name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
