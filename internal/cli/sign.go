package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/images/signature"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

// keyFile is where keygen writes a private key.
const keyFile = "image.key"

func newKeygen(env Env) *cobra.Command {
	var out, passphraseFile string
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a pair of keys that images are signed with",
		Long: `Make a pair of keys: FILE.key, encrypted with a passphrase, signs images, and FILE.pub
checks them. Both are files of minisign, whose own are as good. An existing file is
never replaced. The public key is printed in one line, as spec.imageKeys of a recipe
and "minisign -P" want it.`,
		Example: `  k8snode keygen
  k8snode keygen --out build-farm.key --passphrase-file passphrase`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runKeygen(cmd.Context(), env, out, passphraseFile)
		},
	}
	cmd.Flags().StringVar(&out, "out", keyFile, "file to write the private key to; the public one gets the extension .pub")
	addPassphraseFile(cmd, &passphraseFile)
	return cmd
}

func addPassphraseFile(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "passphrase-file", "", "file whose first line is the passphrase (default: ask on the terminal)")
}

func runKeygen(ctx context.Context, env Env, out, passphraseFile string) error {
	public := strings.TrimSuffix(out, filepath.Ext(out)) + ".pub"
	if out == public {
		return &usageError{fmt.Sprintf("%s would be both keys", out), "give the private key another name, for instance " + keyFile}
	}
	for _, name := range []string{out, public} {
		if _, err := os.Lstat(name); err == nil {
			return fmt.Errorf("writing %s: %w; what it signed could not be checked any more, so it is not replaced", name, fs.ErrExist)
		}
	}
	passphrase, err := env.newPassphrase(ctx, passphraseFile, out)
	if err != nil {
		return err
	}
	key, err := signature.Generate(env.Rand)
	if err != nil {
		return err
	}
	sealed, err := key.Seal(passphrase)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(out, sealed, 0o600); err != nil {
		return err
	}
	if err := atomicfile.Write(public, key.Public().File(), 0o644); err != nil {
		return errors.Join(err, os.Remove(out)) // one without the other is of no use
	}
	fmt.Fprintf(env.Stderr, "k8snode: wrote %s, to sign with, and %s, to check with; keep a copy of the first and its passphrase\n", out, public)
	fmt.Fprintln(env.Stdout, key.Public())
	return nil
}

func newSign(env Env) *cobra.Command {
	var key, passphraseFile string
	cmd := &cobra.Command{
		Use:   "sign [OUT]",
		Short: "Sign a baked image",
		Long: `Sign the manifest of the image in the folder OUT (default out/node), which has the
digests of all its files. The signature is ` + images.SignatureFile + ` beside it; one that is
there is replaced. "k8snode publish" takes it along; a server with --image-key takes
only images that are signed.

Keys are those of "k8snode keygen" or of minisign, which can check the signature:
minisign -Vm OUT/manifest.json -p FILE.pub`,
		Example: `  k8snode sign out/node --key image.key`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("want one folder, got %s", strings.Join(args, " "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			out := filepath.Join("out", "node")
			if len(args) == 1 {
				out = args[0]
			}
			if key == "" {
				return &usageError{"no key to sign with", "name a private one with --key; \"k8snode keygen\" makes one"}
			}
			return runSign(cmd.Context(), env, out, key, passphraseFile)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "private key, of \"k8snode keygen\" or minisign")
	addPassphraseFile(cmd, &passphraseFile)
	return cmd
}

func runSign(ctx context.Context, env Env, out, keyFile, passphraseFile string) error {
	m, text, err := images.ReadManifest(out)
	if err != nil {
		return err
	}
	key, err := env.openKey(ctx, keyFile, passphraseFile)
	if err != nil {
		return err
	}
	// The first half is what minisign itself writes.
	comment := fmt.Sprintf("timestamp:%d\tfile:%s\timage:%s\tid:%s", env.Now().Unix(), images.ManifestFile, m.Name, m.ID)
	sig, err := key.Sign(text, comment)
	if err != nil {
		return err
	}
	name := filepath.Join(out, images.SignatureFile)
	if err := atomicfile.Write(name, sig, 0o644); err != nil {
		return err
	}
	fmt.Fprintf(env.Stderr, "k8snode: image %s %s is signed with the key %s\n", m.Name, m.ID, key.Public().ID())
	fmt.Fprintln(env.Stdout, name)
	return nil
}

// openKey reads a private key.
func (env Env) openKey(ctx context.Context, file, passphraseFile string) (signature.PrivateKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return signature.PrivateKey{}, fmt.Errorf("reading a key: %w", err)
	}
	key, err := signature.Open(file, text, func() (string, error) { return env.passphrase(ctx, passphraseFile, file) })
	if err != nil {
		return signature.PrivateKey{}, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return signature.PrivateKey{}, fmt.Errorf("reading a key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 && !signature.Encrypted(text) {
		return signature.PrivateKey{}, fmt.Errorf("reading a key: %s has no passphrase and the mode %04o, so others can sign with it: chmod 600 %s, and think about who has read it", file, mode, file)
	}
	return key, nil
}

// addImageKeys adds the flag for keys that images must be signed with.
func addImageKeys(cmd *cobra.Command, files *[]string, does string) {
	cmd.Flags().StringArrayVar(files, "image-key", nil, "public key, `FILE`, "+does+"; may be repeated, as one of several is enough")
}

// imageKeys reads public keys.
func imageKeys(files []string) (signature.Keys, error) {
	var all signature.Keys
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading keys: %w", err)
		}
		keys, err := signature.ParseKeys(file, text)
		if err != nil {
			return nil, err
		}
		all = all.With(keys...)
	}
	return all, nil
}
