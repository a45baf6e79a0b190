// Packer-plugin-k8snode is k8snode for those who live in Packer: see docs.
package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/plugin"

	"github.com/k8snode/k8snode/plugins/packer-k8snode/builder/k8snode"
	"github.com/k8snode/k8snode/plugins/packer-k8snode/datasource/ignition"
	"github.com/k8snode/k8snode/plugins/packer-k8snode/post-processor/publish"
	"github.com/k8snode/k8snode/plugins/packer-k8snode/version"
)

func main() {
	set := plugin.NewSet()
	set.SetVersion(version.Plugin())
	set.RegisterBuilder(plugin.DEFAULT_NAME, &k8snode.Builder{Host: k8snode.Host{Now: time.Now, Environ: os.Environ()}})
	set.RegisterDatasource("ignition", &ignition.Datasource{Now: time.Now, Rand: rand.Reader})
	set.RegisterPostProcessor("publish", new(publish.PostProcessor))
	if err := set.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "packer-plugin-k8snode:", err)
		os.Exit(1)
	}
}
