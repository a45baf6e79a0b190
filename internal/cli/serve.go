package cli

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/butane"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
	"github.com/k8snode/k8snode/ignition/stub"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/nodeconfig"
	"github.com/k8snode/k8snode/provision"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/inventory"
	"github.com/k8snode/k8snode/provision/library"
)

type serveFlags struct {
	clusterFlags
	store                                     storeFlags
	site                                      siteFlags
	image, images, iface, socket, data, audit string
	dhcp                                      string
	imageKeys                                 []string

	unknown    bool
	newCluster bool
}

func newServe(env Env) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Boot machines from the network and give each its config",
		Long: `Serve the machines of one network: DHCP and TFTP for those of the cluster document,
boot scripts and the image by HTTP, install plans and configs by TLS.

With --images it serves a folder of images: "k8snode publish" uploads one, and
"k8snode images activate" makes it what is installed from then on. A node that is
armed keeps the image that was active then.

With --image-key it takes no image that was not signed with the key: not when it
starts, not when one is published, not when a node is armed; and machines check it
once more before they write.

With --new-cluster the first control plane of the document may begin the cluster.
Without it no machine can: a node that is installed again joins, or waits.

It is closed until "k8snode arm" opens a window. The folder --data has what the server
knows of its nodes: after a restart, and after a crash, windows are as they were. It
holds no secret, and belongs to one cluster. One server uses it at a time.

With --operators it serves a site for people and for tools: pages with the fleet, the
API of this program's commands, and metrics. It wants a token or a certificate; those
of a viewer only see.

With --store several servers share what they know in an etcd of their own, and any of
them can answer any machine; each has its own --data for its audit.`,
		Example: `  k8snode serve --cluster cluster.yaml --secrets secrets.age --passphrase-file passphrase \
      --image out/node --interface br0 --new-cluster`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runServe(cmd.Context(), env, f) },
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.image, "image", "", "folder of the one image to serve (default out/node)")
	cmd.Flags().StringVar(&f.images, "images", "", "folder of images, to which \"k8snode publish\" adds while the server runs")
	cmd.Flags().StringVar(&f.iface, "interface", "", "interface to serve DHCP and TFTP on (default: neither)")
	cmd.Flags().StringVar(&f.dhcp, "dhcp", dhcpFull, "full: give addresses and boot files; proxy: boot files only, beside another server that gives addresses; off: TFTP only")
	cmd.Flags().BoolVar(&f.unknown, "boot-unknown", false, "as a proxy, boot machines that are not in the document too: they wait, and \"k8snode nodes --unknown\" lists them")
	cmd.Flags().StringVar(&f.data, "data", "data", "folder of what the server knows of its nodes")
	cmd.Flags().StringVar(&f.audit, "audit", "", "file that records every grant and refusal (default DATA/audit.jsonl)")
	f.store.add(cmd)
	f.site.add(cmd)
	addImageKeys(cmd, &f.imageKeys, "that an image must be signed with to be published or installed")
	addNewCluster(cmd, &f.newCluster)
	addSocket(cmd, &f.socket)
	return cmd
}

// addNewCluster is for the first day of a cluster only, so it is not what
// happens by itself.
func addNewCluster(cmd *cobra.Command, newCluster *bool) {
	cmd.Flags().BoolVar(newCluster, "new-cluster", false,
		"the cluster does not exist yet: its first control plane may begin it, within two hours of its config")
}

func runServe(ctx context.Context, env Env, f serveFlags) (err error) {
	if f.image != "" && f.images != "" {
		return &usageError{"--image is one image, --images is many", "leave one of them out"}
	}
	if err := errors.Join(f.checkDHCP(), f.site.check()); err != nil {
		return err
	}
	keys, err := imageKeys(f.imageKeys)
	if err != nil {
		return err
	}
	c, bundle, err := f.open(ctx, env)
	if err != nil {
		return err
	}
	if err := bundle.Begun(env.Now()); err != nil {
		return fmt.Errorf("checking the secrets: %w", err)
	}
	// To open the secrets with a passphrase took 256 MiB, never needed again.
	debug.FreeOSMemory()
	manifests, err := nodeconfig.Manifests(f.cluster, c)
	if err != nil {
		return err
	}
	opts, err := serveOptions(env, c, bundle, manifests, f)
	if err != nil {
		return err
	}
	if opts.Images, err = f.library(library.Options{Keys: keys}); err != nil {
		return err
	}
	// The owner alone may see which machine asks for what.
	if err := os.MkdirAll(f.data, 0o700); err != nil {
		return fmt.Errorf("making the folder of the server's data: %w", err)
	}
	nodes, err := f.store.open(ctx, f.data, bundle.ClusterID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nodes.Close()) }()
	opts.Store = nodes
	trail := cmp.Or(f.audit, filepath.Join(f.data, auditFile))
	log, closeLog, err := openAudit(trail, env)
	if err != nil {
		return err
	}
	defer closeLog()
	opts.Audit = log
	server, err := provision.New(ctx, opts)
	if err != nil {
		return err
	}
	sides, err := f.site.open(siteRequest{env: env, cluster: c, bundle: bundle, server: server, audit: trail})
	if err != nil {
		return err
	}
	return server.Run(ctx, sides...)
}

// Files in the folder of the server's data.
const (
	nodesFile = "nodes.db"
	auditFile = "audit.jsonl"
)

// library is what the flags name: many images, or one.
func (f serveFlags) library(o library.Options) (*library.Library, error) {
	if f.images != "" {
		return library.Open(f.images, o)
	}
	if f.image == "" {
		f.image = filepath.Join("out", "node")
	}
	return library.Single(f.image, o)
}

// Values of --dhcp.
const (
	dhcpFull  = "full"
	dhcpProxy = "proxy"
	dhcpOff   = "off"
)

func (f serveFlags) checkDHCP() error {
	switch {
	case f.dhcp != dhcpFull && f.dhcp != dhcpProxy && f.dhcp != dhcpOff:
		return &usageError{fmt.Sprintf("--dhcp %s: there is no such way", f.dhcp), "use full, proxy or off"}
	case f.dhcp != dhcpFull && f.iface == "":
		return &usageError{"--dhcp is for an interface", "name it with --interface"}
	case f.unknown && f.dhcp != dhcpProxy:
		return &usageError{"--boot-unknown is for --dhcp proxy", "a full DHCP server has no addresses for unknown machines"}
	}
	return nil
}

func serveOptions(env Env, c cluster.Cluster, bundle pki.Bundle, manifests [][]byte, f serveFlags) (provision.Options, error) {
	spec := c.Spec
	address, err := netip.ParseAddr(spec.Provision.Address)
	if err != nil {
		return provision.Options{}, fmt.Errorf("reading spec.provision.address: %w", err)
	}
	pair, err := bundle.ProvisionServer(address, pki.Options{Now: env.Now(), Rand: env.Rand})
	if err != nil {
		return provision.Options{}, err
	}
	certificate, err := tls.X509KeyPair([]byte(pair.Certificate), []byte(pair.Key))
	if err != nil {
		return provision.Options{}, fmt.Errorf("loading the server's certificate: %w", err)
	}
	opts := provision.Options{
		InventoryName: f.cluster,
		Fits:          func(m images.Manifest) error { return nodeconfig.Fits("image "+m.ID, m, c) },
		HTTPURL:       nodeconfig.HTTPURL(c),
		TLSURL:        nodeconfig.TLSURL(c),
		HTTPListen:    nodeconfig.HostPort(c, spec.Provision.HTTPPort),
		TLSListen:     nodeconfig.HostPort(c, spec.Provision.TLSPort),
		AdminSocket:   f.socket,
		Certificate:   certificate,
		CA:            []byte(bundle.Provision.Certificate),
		Config: func(_ context.Context, r provision.ConfigRequest) ([]byte, error) {
			config, err := nodeconfig.Render(nodeconfig.Options{
				Cluster: c, Bundle: bundle, Image: r.Image, Node: r.Node, ReportToken: r.ReportToken,
				Manifests: manifests, NewCluster: f.newCluster, KeepEtcd: r.KeepEtcd, Now: env.Now(), Rand: env.Rand,
			})
			return config.Ignition.Bytes(), err
		},
		Stub: func(url, token string) ([]byte, error) {
			return stub.Stub(stub.Options{URL: url, CA: bundle.Provision.Certificate, Token: token})
		},
		Renew: func(_ context.Context, node string, r api.RenewRequest) (api.RenewAnswer, error) {
			return nodeconfig.Renew(nodeconfig.Options{Cluster: c, Bundle: bundle, Node: node, Now: env.Now(), Rand: env.Rand}, r)
		},
		RenewCA: []byte(bundle.Etcd.Certificate),
		Now:     env.Now, Rand: env.Rand, Logger: env.logger(),
	}
	if f.iface != "" {
		opts.TFTPListen = address.String() + ":69"
	}
	if f.iface != "" && f.dhcp != dhcpOff {
		opts.DHCP = provision.DHCP{Interface: f.iface, Server: address, Unknown: f.unknown}
		if f.dhcp == dhcpProxy {
			opts.DHCP.Mode = provision.ProxyDHCP
		}
		if spec.Network.Gateway != "" {
			if opts.DHCP.Router, err = netip.ParseAddr(spec.Network.Gateway); err != nil {
				return provision.Options{}, fmt.Errorf("reading spec.network.gateway: %w", err)
			}
		}
		for _, dns := range spec.Network.DNS {
			addr, err := netip.ParseAddr(dns)
			if err != nil {
				return provision.Options{}, fmt.Errorf("reading spec.network.dns: %w", err)
			}
			opts.DHCP.DNS = append(opts.DHCP.DNS, addr)
		}
	}
	for _, node := range spec.Nodes {
		opts.Inventory = append(opts.Inventory, inventoryOf(c, node))
	}
	return opts, nil
}

func inventoryOf(c cluster.Cluster, node cluster.Node) inventory.Machine {
	m := inventory.Machine{
		Name: node.Name, Role: string(node.Role), MAC: node.MAC, UUID: node.UUID, Serial: node.Serial,
		Address: node.Prefix(), Disk: node.Disk, LocalBoot: inventory.LocalBoot(node.LocalBoot),
		Etcd: node.Role == cluster.ControlPlane, EtcdMiB: butane.EtcdPartitionMiB(c, node), Partitions: butane.PartitionsAroundEtcd(),
	}
	for _, link := range node.Links {
		if link.MAC != "" && link.MAC != node.MAC {
			m.MACs = append(m.MACs, link.MAC)
		}
	}
	return m
}

// openAudit continues the audit log in a file, after checking that nobody
// changed it.
func openAudit(path string, env Env) (*audit.Log, func(), error) {
	var tail audit.Tail
	f, err := os.Open(path)
	switch {
	case err == nil:
		tail, err = audit.Verify(f)
		f.Close()
		if err != nil {
			return nil, nil, fmt.Errorf("continuing the audit log %s: %w; move it away to begin a new one", path, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("reading the audit log: %w", err)
	}
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the audit log: %w", err)
	}
	file, err := audit.Append(w)
	if err != nil {
		return nil, nil, errors.Join(err, w.Close())
	}
	// Every entry is written; there is nothing left that closing could lose.
	return audit.New(file, env.Now, tail), func() { _ = file.Close() }, nil
}
