package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/internal/atomicfile"
	"github.com/k8snode/k8snode/internal/nodeconfig"
)

func newSecrets(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secrets VERB",
		Short: "Make, show and renew the authorities of a cluster",
		Example: `  k8snode secrets init --out secrets.age
  k8snode secrets init --out secrets.age --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
  k8snode secrets show`,
	}
	cmd.AddCommand(newSecretsInit(env), newSecretsImport(env), newSecretsShow(env), newSecretsRenew(env))
	return cmd
}

// sealFlags say who can open the secrets that are written.
type sealFlags struct {
	recipients     []string
	passphraseFile string
}

func (f *sealFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.recipients, "recipient", nil, "public key, of age or SSH, to encrypt for instead of a passphrase; may be repeated")
	cmd.Flags().StringVar(&f.passphraseFile, "passphrase-file", "", "file whose first line is the passphrase (default: ask on the terminal)")
	cmd.MarkFlagsMutuallyExclusive("recipient", "passphrase-file")
}

// seal encrypts the secrets for a file that does not exist yet.
func (f sealFlags) seal(ctx context.Context, env Env, b func() (pki.Bundle, error), out string) error {
	if _, err := os.Lstat(out); err == nil {
		return fmt.Errorf("writing %s: %w; a cluster cannot outlive its authorities, so it is not replaced", out, fs.ErrExist)
	}
	var passphrase string
	if len(f.recipients) == 0 {
		var err error
		if passphrase, err = env.newPassphrase(ctx, f.passphraseFile, out); err != nil {
			return err
		}
	}
	bundle, err := b()
	if err != nil {
		return err
	}
	var sealed bytes.Buffer
	if err := pki.Seal(&sealed, bundle, passphrase, pki.SealOptions{Recipients: f.recipients}); err != nil {
		return err
	}
	if err := atomicfile.Write(out, sealed.Bytes(), 0o600); err != nil {
		return err
	}
	opener := "its passphrase"
	if len(f.recipients) > 0 {
		opener = "the private key of a recipient"
	}
	fmt.Fprintf(env.Stderr, "k8snode: wrote %s; without it and %s no node can be added: keep a copy of both\n", out, opener)
	return nil
}

func newSecretsInit(env Env) *cobra.Command {
	var out string
	var f sealFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make new authorities, encrypted",
		Long: `Make the authorities of a new cluster (Kubernetes, front proxy, etcd, provisioning,
service accounts), the password of keepalived and the key of Secrets in etcd, and
write them, encrypted with age: with a passphrase, or for public keys. An existing
file is never replaced: a cluster cannot outlive its authorities.`,
		Example: `  k8snode secrets init --out secrets.age --passphrase-file passphrase
  k8snode secrets init --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.seal(cmd.Context(), env, func() (pki.Bundle, error) {
				return pki.New(pki.Options{Now: env.Now(), Rand: env.Rand})
			}, out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "secrets.age", "file to write")
	f.add(cmd)
	return cmd
}

func newSecretsImport(env Env) *cobra.Command {
	var out string
	var f sealFlags
	cmd := &cobra.Command{
		Use:   "import PKI_DIR",
		Short: "Take the authorities of a cluster that kubeadm made",
		Long: `Take the authorities from a copy of /etc/kubernetes/pki of a control plane: ca,
front-proxy-ca and etcd/ca, each with .crt and .key, sa.pub and sa.key. What kubeadm
does not have is made. The folder is only read; remove the copy afterwards.`,
		Example: `  k8snode secrets import pki --out secrets.age`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.seal(cmd.Context(), env, func() (pki.Bundle, error) {
				b, err := pki.Import(os.DirFS(args[0]), pki.Options{Now: env.Now(), Rand: env.Rand})
				if err != nil {
					return pki.Bundle{}, fmt.Errorf("reading %s: %w", args[0], err)
				}
				return b, nil
			}, out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "secrets.age", "file to write")
	f.add(cmd)
	return cmd
}

// shownSecrets is what "secrets show" prints: nothing that is secret.
type shownSecrets struct {
	ClusterID   string          `json:"clusterID"`
	Authorities []pki.Authority `json:"authorities"`
}

func newSecretsShow(env Env) *cobra.Command {
	var f keyFlags
	var secrets, output, certificate string
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show what everybody may know of the secrets",
		Long: `Show the ID of the cluster, and of each authority the digests of its certificate and
public key and until when it is valid. No private key and no password is shown.

With --certificate, print the certificate of one authority, for who has to trust it.`,
		Example: `  k8snode secrets show --secrets secrets.age
  k8snode secrets show --identity key.txt -o json
  k8snode secrets show --certificate k8snode-provision-ca > provision-ca.pem`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return &usageError{fmt.Sprintf("there is no output format %q", output), "use table or json"}
			}
			b, err := nodeconfig.LoadSecrets(secrets, f.unlock(cmd.Context(), env, secrets))
			if err != nil {
				return err
			}
			authorities, err := b.Authorities()
			if err != nil {
				return err
			}
			if certificate != "" {
				return printCertificate(env.Stdout, authorities, certificate)
			}
			if output == "json" {
				e := json.NewEncoder(env.Stdout)
				e.SetIndent("", "  ")
				return e.Encode(shownSecrets{b.ClusterID, authorities})
			}
			fmt.Fprintf(env.Stdout, "cluster ID: %s\n\n", b.ClusterID)
			t := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "AUTHORITY\tKEY\tUNTIL\tSHA256 OF THE PUBLIC KEY")
			for _, a := range authorities {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", a.Name, a.Algorithm, a.NotAfter.Format(time.DateOnly), a.PublicKey)
			}
			return t.Flush()
		},
	}
	addSecrets(cmd, &secrets)
	f.add(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	cmd.Flags().StringVar(&certificate, "certificate", "", "name of the one authority whose certificate is printed, PEM")
	return cmd
}

// printCertificate prints the certificate of one authority.
func printCertificate(w io.Writer, authorities []pki.Authority, name string) error {
	var names []string
	for _, a := range authorities {
		if a.Name == name {
			_, err := io.WriteString(w, a.Certificate)
			return err
		}
		names = append(names, a.Name)
	}
	return &usageError{fmt.Sprintf("there is no authority %q", name), "use one of " + strings.Join(names, ", ")}
}

func newSecretsRenew(env Env) *cobra.Command {
	var f keyFlags
	var seal sealFlags
	var secrets, out string
	var validity time.Duration
	cmd := &cobra.Command{
		Use:   "renew",
		Short: "Give the authorities a longer life",
		Long: `Make the certificates of the authorities anew, with the keys that they have, and write
the secrets to another file. What the old certificates signed stays valid. Nodes get
the new ones when they are installed again; until all have been, nothing is lost, as
both are of one key.`,
		Example: `  k8snode secrets renew --secrets secrets.age --passphrase-file passphrase --out renewed.age`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return &usageError{"no output file", "name a new one with --out"}
			}
			if validity <= 0 {
				return &usageError{fmt.Sprintf("an authority cannot live for %s", validity), "use for instance --for 87600h"}
			}
			seal.passphraseFile = f.passphraseFile
			if f.identity != "" && len(seal.recipients) == 0 {
				return &usageError{"nobody to encrypt for", "name the public keys with --recipient: age does not tell for whom a file is"}
			}
			return seal.seal(cmd.Context(), env, func() (pki.Bundle, error) {
				b, err := nodeconfig.LoadSecrets(secrets, f.unlock(cmd.Context(), env, secrets))
				if err != nil {
					return pki.Bundle{}, err
				}
				return b.Renew(pki.Options{Now: env.Now(), Rand: env.Rand, Validity: validity})
			}, out)
		},
	}
	addSecrets(cmd, &secrets)
	f.add(cmd)
	cmd.Flags().StringArrayVar(&seal.recipients, "recipient", nil, "public key, of age or SSH, to encrypt for instead of a passphrase; may be repeated")
	cmd.Flags().StringVar(&out, "out", "", "file to write")
	cmd.Flags().DurationVar(&validity, "for", pki.DefaultAuthorityValidity, "life of the authorities")
	return cmd
}
