//go:generate go tool packer-sdc mapstructure-to-hcl2 -type Config

package k8snode

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/template/config"

	"github.com/k8snode/k8snode/builder/request"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/report"
)

// Config is the block "source" of a template.
type Config struct {
	common.PackerConfig `mapstructure:",squash"`

	// The recipe: the name of an embedded one (`node`, `release`), or the path
	// of a file. Defaults to `node`.
	Recipe string `mapstructure:"recipe"`
	// Overrides that are laid over the recipe, by path, for instance
	// `{ "spec.disk.rootMiB" = "3072" }`. A value is YAML: lists and maps are
	// written `[a, b]` and `{a: 1}`.
	Set map[string]string `mapstructure:"set"`
	// What to make of the image: `raw`, `zstd`, `pxe`, `iso`,
	// `installer`. Defaults to what
	// the recipe says, which is everything unless it says otherwise. It is the
	// same as an override of `spec.outputs`.
	Outputs []string `mapstructure:"outputs"`
	// The level of zstd, 1 to 22, that the root is compressed with. Defaults to
	// what the recipe says. It is the same as an override of
	// `spec.disk.compressionLevel`.
	CompressionLevel int `mapstructure:"compression_level"`

	// The folder of the image. Defaults to `output-` and the name of the build.
	// It must not exist, unless Packer runs with `-force`; then it is replaced
	// when the new image is complete.
	OutputDirectory string `mapstructure:"output_directory"`

	// The lock that pins every input. Defaults to the one beside the recipe's
	// file, or to the embedded one. See `k8snode lock`.
	Lock string `mapstructure:"lock"`
	// Fail rather than change the lock. Defaults to false: an input that has
	// vanished from its mirror is resolved anew, and the build says what
	// changed.
	Locked bool `mapstructure:"locked"`
	// Open no socket: everything must be in the cache. Provisioners have no
	// network then. Defaults to false.
	Offline bool `mapstructure:"offline"`
	// The cache folder. Defaults to `$XDG_CACHE_HOME/k8snode`, which the
	// command line of k8snode uses as well.
	Cache string `mapstructure:"cache"`
	// The file of the keys that sign the archive of packages. Defaults to
	// Debian's.
	Keyring string `mapstructure:"keyring"`
	// The program k8snode-agent that goes into the image. Defaults to the one
	// inside the plugin.
	Agent string `mapstructure:"agent"`
	// How many jobs run side by side. Defaults to one for each processor.
	Jobs int `mapstructure:"jobs"`

	// Refuse provisioners that change the root: what they do is not covered by
	// the lock. Defaults to false. Provisioners that do not look at the root,
	// such as `shell-local`, are no harm.
	Reproducible bool `mapstructure:"reproducible"`
	// Bake twice and compare every byte. Defaults to false.
	Check bool `mapstructure:"check"`
}

// read decodes and completes the configuration, and reads the recipe.
func (c *Config) read(raws ...any) (images.Loaded, error) {
	err := config.Decode(c, &config.DecodeOpts{PluginType: BuilderID, Interpolate: true}, raws...)
	if err != nil {
		return images.Loaded{}, err
	}
	if c.Recipe == "" {
		c.Recipe = "node"
	}
	if c.OutputDirectory == "" {
		c.OutputDirectory = "output-" + c.PackerBuildName
	}
	var all problems
	c.checkOutputs(&all)
	if c.CompressionLevel != 0 && (c.CompressionLevel < 1 || c.CompressionLevel > 22) {
		all.addf("compression_level: %d is not a level of zstd: use 1 to 22", c.CompressionLevel)
	}
	if c.Jobs < 0 {
		all.addf("jobs: %d makes no sense: leave it out for one for each processor", c.Jobs)
	}
	// Its problems are worth knowing beside the others, but not of overrides
	// that are wrong already.
	ask := c.request()
	if len(all.Errors) > 0 {
		ask.Set = sets(c.Set)
	}
	loaded, err := ask.Load()
	c.addLoad(&all, err)
	return loaded, all.err()
}

func (c *Config) checkOutputs(all *problems) {
	known := make([]string, 0, len(images.Outputs()))
	for _, o := range images.Outputs() {
		known = append(known, string(o))
	}
	for i, o := range c.Outputs {
		switch {
		case !slices.Contains(known, o):
			all.addf("outputs[%d]: there is no output %q: use %s", i, o, strings.Join(known, ", "))
		case slices.Contains(c.Outputs[:i], o):
			all.addf("outputs[%d]: %q is there twice", i, o)
		}
	}
	for _, field := range []struct {
		set   string
		given bool
		name  string
	}{
		{"spec.outputs", len(c.Outputs) > 0, "outputs"},
		{"spec.disk.compressionLevel", c.CompressionLevel != 0, "compression_level"},
	} {
		if _, twice := c.Set[field.set]; twice && field.given {
			all.addf("set[%q]: %s says the same: leave one of them out", field.set, field.name)
		}
	}
}

// addLoad adds what is wrong with the recipe, each problem at its place; that
// of an override is its key in HCL.
func (c *Config) addLoad(all *problems, err error) {
	var list report.Problems
	unknown := (*request.UnknownRecipeError)(nil)
	switch {
	case err == nil:
	case errors.As(err, &unknown):
		all.addf("recipe: %w: %s", unknown, unknown.Hint())
	case errors.As(err, &list):
		for _, p := range list {
			if key, ok := strings.CutPrefix(p.File, "--set "); ok {
				p.File = fmt.Sprintf("set[%q]", key)
			}
			all.addf("%s", p)
		}
	default:
		all.addf("recipe: %w", err)
	}
}

// request is what the configuration asks for.
func (c *Config) request() request.Request {
	set := maps.Clone(c.Set)
	if set == nil {
		set = map[string]string{}
	}
	if len(c.Outputs) > 0 {
		set["spec.outputs"] = "[" + strings.Join(c.Outputs, ", ") + "]"
	}
	if c.CompressionLevel != 0 {
		set["spec.disk.compressionLevel"] = strconv.Itoa(c.CompressionLevel)
	}
	return request.Request{Recipe: c.Recipe, Set: sets(set), Lock: c.Lock}
}

// sets returns overrides in the order of their paths: what is said of a whole
// comes before what is said of a part of it.
func sets(set map[string]string) []string {
	var all []string
	for _, path := range slices.Sorted(maps.Keys(set)) {
		all = append(all, path+"="+set[path])
	}
	return all
}
