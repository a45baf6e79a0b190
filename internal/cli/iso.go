package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/builder/iso"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/embedarea"
	"github.com/k8snode/k8snode/internal/nodeconfig"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/store"
)

type isoFlags struct {
	clusterFlags
	server           clientFlags
	image, out, node string
	static           bool
}

func newISO(env Env) *cobra.Command {
	var f isoFlags
	cmd := &cobra.Command{
		Use:   "iso",
		Short: "Write an ISO that installs machines without a network boot",
		Long: `Copy the installer of an image, and write into the copy where its server is. A machine
that is started from it, as a CD, a stick or virtual media, by BIOS or UEFI, installs
itself like one that was booted from the network, and starts its disk when there is
nothing to install: the medium may stay.

Without --node it is for every machine of the cluster document, and holds no secret. A
machine asks the server what to do, by TLS, and waits until "k8snode arm" lets it.

With --node it is for one node whose window is open, and holds the token of this
install: the file is for its owner only, and worth nothing when the window ends. The
server is asked for it, as for other verbs. With --static the machine takes its address
from the cluster document, without a DHCP server.`,
		Example: `  k8snode iso --image out/node --out installer.iso
  k8snode arm w1 && k8snode iso --node w1 --out w1.iso
  k8snode iso --node w1 --static --out w1.iso --server https://provision.example:8443 --token-file token`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(cmd); err != nil {
				return err
			}
			return runISO(cmd.Context(), env, f)
		},
	}
	f.add(cmd)
	f.server.add(cmd)
	cmd.Flags().StringVar(&f.image, "image", filepath.Join("out", "node"), "folder of the baked image")
	cmd.Flags().StringVar(&f.out, "out", images.InstallerFile, "file to write")
	cmd.Flags().StringVar(&f.node, "node", "", "node that the ISO is for, whose install window is open (default: every node)")
	cmd.Flags().BoolVar(&f.static, "static", false, "with --node: the machine takes the node's address, without DHCP")
	return cmd
}

// check refuses flags that make no sense together.
func (f isoFlags) check(cmd *cobra.Command) error {
	switch {
	case f.node == "" && f.static:
		return &usageError{"--static is for the ISO of one node", "name it with --node"}
	case f.node == "" && (cmd.Flags().Changed("socket") || f.server.url+f.server.ca+f.server.tokenFile+f.server.cert != ""):
		return &usageError{"an ISO for every node asks no server", "name one node with --node, or leave out the flags of the server"}
	}
	return nil
}

func runISO(ctx context.Context, env Env, f isoFlags) error {
	manifest, err := images.OpenManifest(f.image)
	if err != nil {
		return err
	}
	source, err := artifact(f.image, images.InstallerFile, images.OutputInstaller)
	if err != nil {
		return err
	}
	want, ok := manifest.Artifact(images.InstallerFile)
	if !ok {
		return fmt.Errorf("the manifest of %s has no %s: bake it with %s in spec.outputs", f.image, images.InstallerFile, images.OutputInstaller)
	}
	// Before the server mints a token, which ends the one before.
	if _, err := os.Lstat(f.out); err == nil {
		return fmt.Errorf("writing %s: %w: remove it, or name another file with --out", f.out, fs.ErrExist)
	}
	doc, secret, err := f.document(ctx, env)
	if err != nil {
		return err
	}
	area, err := embedarea.Encode(doc, images.InstallerAreaSize)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if doc.Seed.Token != "" {
		mode = 0o600
	}
	if err := writeISO(f.out, source, want.SHA256, area, mode); err != nil {
		return fmt.Errorf("writing %s: %w", f.out, err)
	}
	fmt.Fprintln(env.Stdout, f.out)
	if secret != "" {
		fmt.Fprintf(env.Stderr, "k8snode: %s\n", secret)
	}
	return nil
}

// document is what the ISO says; secret warns of what it holds.
func (f isoFlags) document(ctx context.Context, env Env) (doc embedarea.Document, secret string, err error) {
	if f.node == "" {
		c, bundle, err := f.open(ctx, env)
		if err != nil {
			return embedarea.Document{}, "", err
		}
		return embedarea.Document{Seed: api.Seed{Server: nodeconfig.TLSURL(c), CA: bundle.Provision.Certificate}}, "", nil
	}
	if f.static {
		// Before the server mints a token, too.
		if doc.Network, err = f.network(); err != nil {
			return embedarea.Document{}, "", err
		}
	}
	client, err := f.server.open()
	if err != nil {
		return embedarea.Document{}, "", err
	}
	seed, err := client.Seed(ctx, f.node)
	switch {
	case errors.Is(err, store.ErrClosed):
		return embedarea.Document{}, "", fmt.Errorf("%w: open a window first: k8snode arm %s", err, f.node)
	case err != nil:
		return embedarea.Document{}, "", f.server.reached(err)
	}
	doc.Seed = api.Seed{Node: seed.Node, Server: seed.Server, CA: seed.CA, Token: seed.Token}
	doc.MACs = seed.MACs
	secret = fmt.Sprintf("%s holds the install token of node %s: it is a secret until %s, and worth nothing afterwards",
		f.out, seed.Node, seed.Until.Local().Format("2006-01-02 15:04:05"))
	return doc, secret, nil
}

// network is the address of the node's machine, as the cluster document has it.
func (f isoFlags) network() (*embedarea.Network, error) {
	text, err := os.ReadFile(f.cluster)
	if err != nil {
		return nil, fmt.Errorf("reading the cluster document: %w", err)
	}
	c, err := cluster.Parse(f.cluster, text)
	if err != nil {
		return nil, err
	}
	nodes, err := selectNodes(c, f.cluster, []string{f.node})
	if err != nil {
		return nil, err
	}
	node := nodes[0]
	if l, ok := node.Link(node.Primary); ok && l.VLAN != nil {
		return nil, fmt.Errorf("the address of node %s is on the VLAN %s, which the installer does not have: leave out --static, and let a DHCP server give its interface %s an address",
			node.Name, cmp.Or(node.Primary, l.Name), node.MAC)
	}
	n := &embedarea.Network{MAC: node.MAC, Address: node.Prefix()}
	if gateway, err := netip.ParseAddr(c.Spec.Network.Gateway); err == nil && n.Address.Contains(gateway) {
		n.Gateway = gateway
	}
	for _, text := range c.Spec.Network.DNS {
		if dns, err := netip.ParseAddr(text); err == nil {
			n.DNS = append(n.DNS, dns)
		}
	}
	return n, nil
}

// writeISO copies an installer that has that digest, with the content of its embed
// area. The file appears whole, or not at all.
func writeISO(out, source, sha string, area []byte, mode fs.FileMode) (err error) {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	// CreateTemp makes the file 0600: a token is never readable meanwhile.
	f, err := os.CreateTemp(filepath.Dir(out), "."+filepath.Base(out)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(f, sum), in); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != sha {
		return fmt.Errorf("%s is damaged: its SHA-256 is %s, and the manifest says %s: copy or bake the image again", source, got, sha)
	}
	if err := iso.Embed(f, area); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	if err := errors.Join(f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	// Not a rename: it would replace what appeared meanwhile.
	return os.Link(f.Name(), out)
}
