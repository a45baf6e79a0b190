package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/internal/atomicfile"
	"github.com/k8snode/k8snode/internal/nodeconfig"
)

func newRender(env Env) *cobra.Command {
	var f clusterFlags
	var image, out string
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Write the config of every node, to look at",
		Long: `Write the Butane document and the Ignition config of every node of the cluster,
checked against the Ignition inside the image.

The files hold private keys: they have mode 0600. "k8snode serve" does not read
them; it renders each config when it is delivered, with certificates that are
minted then. The token with which a node reports is left out here.`,
		Example: `  k8snode render --cluster cluster.yaml --secrets secrets.age --image out/node --out rendered`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runRender(cmd.Context(), env, f, image, out)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&image, "image", "out/node", "folder of the baked image")
	cmd.Flags().StringVar(&out, "out", "rendered", "output folder")
	return cmd
}

func runRender(ctx context.Context, env Env, f clusterFlags, image, out string) error {
	c, bundle, err := f.open(ctx, env)
	if err != nil {
		return err
	}
	manifest, err := nodeconfig.OpenImage(image, c)
	if err != nil {
		return err
	}
	type rendered struct {
		name   string
		config nodeconfig.Config
	}
	var all []rendered
	for _, n := range c.Spec.Nodes {
		config, err := nodeconfig.Render(nodeconfig.Options{
			Cluster: c, Bundle: bundle, Image: manifest, Node: n.Name,
			ReportToken: nodeconfig.WithheldToken, Now: env.Now(), Rand: env.Rand,
		})
		if err != nil {
			return err
		}
		all = append(all, rendered{n.Name, config})
	}
	// Nothing is written before everything is right.
	t := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	for _, r := range all {
		for ext, content := range map[string][]byte{".bu": r.config.Butane, ".ign": r.config.Ignition.Bytes()} {
			if err := atomicfile.Write(filepath.Join(out, r.name+ext), content, 0o600); err != nil {
				return err
			}
		}
		fmt.Fprintf(t, "%s\t%s\n", filepath.Join(out, r.name+".ign"), r.config.Ignition.Digest())
	}
	return t.Flush()
}
