package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/internal/atomicfile"
	"github.com/k8snode/k8snode/internal/nodeconfig"
)

// clusterFlags name a cluster and the means to open its secrets.
type clusterFlags struct {
	cluster, secrets, passphraseFile string
}

func (f *clusterFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.cluster, "cluster", "cluster.yaml", "cluster document")
	cmd.Flags().StringVar(&f.secrets, "secrets", "secrets.age", "secrets, made by \"k8snode secrets init\"")
	addPassphrase(cmd, &f.passphraseFile)
}

func addPassphrase(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "passphrase-file", "", "file whose first line is the passphrase (default: ask on the terminal)")
}

// open reads the cluster document and the secrets.
func (f clusterFlags) open(ctx context.Context, env Env) (cluster.Cluster, pki.Bundle, error) {
	return nodeconfig.Load(f.cluster, f.secrets, func() (string, error) {
		return env.passphrase(ctx, f.passphraseFile, f.secrets)
	})
}

func newSecrets(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "secrets VERB",
		Short: "Make the authorities of a cluster",
		Example: `  k8snode secrets init --out secrets.age
  k8snode secrets init --out secrets.age --passphrase-file passphrase`,
	}
	var out, passphraseFile string
	initialize := &cobra.Command{
		Use:   "init",
		Short: "Make new authorities, encrypted with a passphrase",
		Long: `Make the authorities of a new cluster (Kubernetes, front proxy, etcd, provisioning,
service accounts) and write them, encrypted with age. An existing file is never
replaced: a cluster cannot outlive its authorities.`,
		Example: `  k8snode secrets init --out secrets.age --passphrase-file passphrase`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runSecretsInit(cmd.Context(), env, out, passphraseFile)
		},
	}
	initialize.Flags().StringVar(&out, "out", "secrets.age", "file to write")
	addPassphrase(initialize, &passphraseFile)
	cmd.AddCommand(initialize)
	return cmd
}

func runSecretsInit(ctx context.Context, env Env, out, passphraseFile string) error {
	if _, err := os.Lstat(out); err == nil {
		return fmt.Errorf("writing %s: %w; a cluster cannot outlive its authorities, so it is not replaced", out, fs.ErrExist)
	}
	passphrase, err := env.newPassphrase(ctx, passphraseFile, out)
	if err != nil {
		return err
	}
	b, err := pki.New(pki.Options{Now: env.Now(), Rand: env.Rand})
	if err != nil {
		return err
	}
	var sealed bytes.Buffer
	if err := pki.Seal(&sealed, b, passphrase, pki.SealOptions{}); err != nil {
		return err
	}
	if err := atomicfile.Write(out, sealed.Bytes(), 0o600); err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "k8snode: wrote %s; without it and its passphrase no node can be added: keep a copy of both\n", out)
	return nil
}

// passphrase reads the first line of a file, or asks on the terminal.
func (env Env) passphrase(ctx context.Context, file, what string) (string, error) {
	if file == "" {
		return env.ask(ctx, "Passphrase of "+what+": ")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the passphrase: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", fmt.Errorf("reading the passphrase: the first line of %s is empty", file)
	}
	return line, nil
}

// newPassphrase is passphrase for a file that is made. On the terminal it asks
// twice: nobody can open what a slip of the finger has sealed.
func (env Env) newPassphrase(ctx context.Context, file, what string) (string, error) {
	first, err := env.passphrase(ctx, file, what)
	if file != "" || err != nil {
		return first, err
	}
	second, err := env.ask(ctx, "The same again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("reading the passphrase: the two are not the same")
	}
	return first, nil
}

// ask reads a line from the terminal without showing it.
func (env Env) ask(ctx context.Context, prompt string) (string, error) {
	in, ok := env.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", &usageError{"no passphrase: standard input is not a terminal", "name a file with --passphrase-file"}
	}
	fd := int(in.Fd())
	shown, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("reading the passphrase: %w", err)
	}
	fmt.Fprint(env.Stderr, prompt)
	defer fmt.Fprintln(env.Stderr)

	type answer struct {
		line []byte
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		answers <- answer{line, err}
	}()
	select {
	case a := <-answers:
		if a.err == nil && len(a.line) == 0 {
			a.err = errors.New("it is empty")
		}
		if a.err != nil {
			return "", fmt.Errorf("reading the passphrase: %w", a.err)
		}
		return string(a.line), nil
	case <-ctx.Done():
		// Nothing ends the read, but the terminal must show again what is typed.
		return "", fmt.Errorf("reading the passphrase: %w", errors.Join(context.Cause(ctx), term.Restore(fd, shown)))
	}
}
