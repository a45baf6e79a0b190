package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/internal/nodeconfig"
)

// keyFlags say how secrets are opened.
type keyFlags struct {
	passphraseFile, identity string
}

func (f *keyFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.passphraseFile, "passphrase-file", "", "file whose first line is the passphrase (default: ask on the terminal)")
	cmd.Flags().StringVar(&f.identity, "identity", "", "private key, of age or SSH, for which the secrets are encrypted")
	cmd.MarkFlagsMutuallyExclusive("passphrase-file", "identity")
}

func (f keyFlags) unlock(ctx context.Context, env Env, secrets string) nodeconfig.Unlock {
	if f.identity != "" {
		return nodeconfig.WithIdentity(f.identity)
	}
	return nodeconfig.WithPassphrase(func() (string, error) { return env.passphrase(ctx, f.passphraseFile, secrets) })
}

// clusterFlags name a cluster and the means to open its secrets.
type clusterFlags struct {
	keyFlags
	cluster, secrets string
}

func (f *clusterFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.cluster, "cluster", "cluster.yaml", "cluster document")
	addSecrets(cmd, &f.secrets)
	f.keyFlags.add(cmd)
}

func addSecrets(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "secrets", "secrets.age", "secrets, made by \"k8snode secrets init\"")
}

// open reads the cluster document and the secrets.
func (f clusterFlags) open(ctx context.Context, env Env) (cluster.Cluster, pki.Bundle, error) {
	return nodeconfig.Load(f.cluster, f.secrets, f.unlock(ctx, env, f.secrets))
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
