package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

func newKubeconfig(env Env) *cobra.Command {
	var f clusterFlags
	var out string
	var validity time.Duration
	cmd := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Write a kubeconfig for the cluster's operator",
		Long: `Write a kubeconfig whose certificate may do anything in the cluster and cannot be
revoked: keep its life short.`,
		Example: `  k8snode kubeconfig --cluster cluster.yaml --secrets secrets.age --out admin.conf`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if validity <= 0 {
				return &usageError{fmt.Sprintf("a certificate cannot live for %s", validity), "use for instance --for 8h"}
			}
			c, bundle, err := f.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			b, err := butane.Kubeconfig(c, bundle, pki.Options{Now: env.Now(), Rand: env.Rand, Validity: validity})
			if err != nil {
				return err
			}
			return atomicfile.Write(out, b, 0o600)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&out, "out", "admin.conf", "file to write")
	cmd.Flags().DurationVar(&validity, "for", 24*time.Hour, "life of the certificate")
	return cmd
}
