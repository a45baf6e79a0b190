package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

// kubernetesVersion is that of the recipes of this release.
const kubernetesVersion = "v1.37.2"

func newInit(env Env) *cobra.Command {
	var name, network string
	opts := cluster.ExampleOptions{Version: kubernetesVersion}
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Write the document of a new cluster",
		Long: `Write a commented cluster.yaml into a folder, to be changed: it is valid, and has
an address for every machine, but the MAC addresses of none.

A file that is there is never replaced.`,
		Example: `  k8snode init cs1 --control-planes 3 --workers 2 --network 172.29.33.0/24`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var err error
			if opts.Network, err = netip.ParsePrefix(network); err != nil {
				return &usageError{fmt.Sprintf("--network is %q", network), "write it as 192.0.2.0/24"}
			}
			opts.Name = name
			if name == "" {
				abs, err := filepath.Abs(args[0])
				if err != nil {
					return err
				}
				opts.Name = filepath.Base(abs)
			}
			return runInit(env, args[0], opts)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the cluster (default: that of the folder)")
	cmd.Flags().IntVar(&opts.ControlPlanes, "control-planes", 3, "number of control planes")
	cmd.Flags().IntVar(&opts.Workers, "workers", 2, "number of workers")
	cmd.Flags().StringVar(&network, "network", "192.0.2.0/24", "network of the nodes")
	return cmd
}

func runInit(env Env, dir string, opts cluster.ExampleOptions) error {
	file := filepath.Join(dir, "cluster.yaml")
	switch _, err := os.Lstat(file); {
	case err == nil:
		return fmt.Errorf("writing %s: %w; it is not replaced", file, fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("writing %s: %w", file, err)
	}
	text, err := cluster.Example(opts)
	if err != nil {
		return err
	}
	// The name is all that may be wrong with it.
	if _, err := cluster.Parse(file, text); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	if err := atomicfile.Write(file, text, 0o644); err != nil {
		return err
	}
	fmt.Fprintln(env.Stdout, file)
	fmt.Fprintf(env.Stderr, "k8snode: write the machines' MAC addresses into it, then: k8snode validate %s\n", file)
	return nil
}
