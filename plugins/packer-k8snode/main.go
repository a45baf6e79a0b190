package main

import (
	"fmt"
	"os"

	"github.com/hashicorp/packer-plugin-sdk/plugin"

	"github.com/k8snode/k8snode/plugins/packer-k8snode/builder/k8snode"
	"github.com/k8snode/k8snode/plugins/packer-k8snode/datasource/ignition"
	"github.com/k8snode/k8snode/plugins/packer-k8snode/version"
)

func main() {
	set := plugin.NewSet()
	set.SetVersion(version.Plugin())
	set.RegisterBuilder(plugin.DEFAULT_NAME, new(k8snode.Builder))
	set.RegisterDatasource("ignition", new(ignition.Datasource))
	if err := set.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "packer-plugin-k8snode:", err)
		os.Exit(1)
	}
}
