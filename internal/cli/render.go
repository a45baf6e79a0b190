package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/internal/atomicfile"
	"github.com/k8snode/k8snode/internal/nodeconfig"
)

type renderFlags struct {
	clusterFlags
	image, out         string
	redact, newCluster bool
	keepEtcd           bool
}

func newRender(env Env) *cobra.Command {
	var f renderFlags
	cmd := &cobra.Command{
		Use:   "render [NODE]...",
		Short: "Write the configs of nodes",
		Long: `Write the Butane document and the Ignition config of the nodes named, or of every
node of the cluster, checked against the Ignition inside the image, and an index
with their digests.

The files hold private keys: they have mode 0600. With --redact, Butane documents
without secrets are written instead, for review. "k8snode serve" does not read any
of them; it renders each config when it is delivered, with certificates that are
minted then. The token with which a node reports is left out here.`,
		Example: `  k8snode render --cluster cluster.yaml --secrets secrets.age --image out/node --out rendered --new-cluster
  k8snode render w1 w2 --redact`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRender(cmd.Context(), env, f, args)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.image, "image", "out/node", "folder of the baked image")
	cmd.Flags().StringVar(&f.out, "out", "rendered", "output folder")
	cmd.Flags().BoolVar(&f.redact, "redact", false, "write documents for review, without secrets")
	addNewCluster(cmd, &f.newCluster)
	cmd.Flags().BoolVar(&f.keepEtcd, "keep-etcd", false, "keep the data of etcd that an earlier installation left on the disk")
	cmd.MarkFlagsMutuallyExclusive("new-cluster", "keep-etcd")
	return cmd
}

// renderIndex is the file index.json: what was rendered, for which image.
type renderIndex struct {
	Cluster string         `json:"cluster"`
	Image   string         `json:"image"`
	Nodes   []renderedNode `json:"nodes"`
}

type renderedNode struct {
	Name string `json:"name"`
	Role string `json:"role"`
	// File is the config, SHA256 its digest.
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
}

func runRender(ctx context.Context, env Env, f renderFlags, names []string) error {
	c, bundle, err := f.open(ctx, env)
	if err != nil {
		return err
	}
	nodes, err := selectNodes(c, f.cluster, names)
	if err != nil {
		return err
	}
	manifest, err := nodeconfig.OpenImage(f.image, c)
	if err != nil {
		return err
	}
	manifests, err := nodeconfig.Manifests(f.cluster, c)
	if err != nil {
		return err
	}
	index, files, err := f.render(nodeconfig.Options{
		Cluster: c, Bundle: bundle, Image: manifest, Manifests: manifests, NewCluster: f.newCluster, KeepEtcd: f.keepEtcd,
		ReportToken: nodeconfig.WithheldToken, Now: env.Now(), Rand: env.Rand,
	}, nodes)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return err
	}
	files["index.json"] = append(text, '\n')

	// Nothing is written before everything is right.
	for name, content := range files {
		if err := atomicfile.Write(filepath.Join(f.out, name), content, 0o600); err != nil {
			return err
		}
	}
	t := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	for _, n := range index.Nodes {
		fmt.Fprintf(t, "%s\t%s\n", filepath.Join(f.out, n.File), n.SHA256)
	}
	return t.Flush()
}

// render makes the files of the nodes, by name, and the index of them.
func (f renderFlags) render(opts nodeconfig.Options, nodes []cluster.Node) (renderIndex, map[string][]byte, error) {
	index := renderIndex{Cluster: opts.Cluster.Metadata.Name, Image: opts.Image.ID}
	files := map[string][]byte{}
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	if f.redact {
		for _, n := range nodes {
			opts.Node = n.Name
			text, err := nodeconfig.Review(opts)
			if err != nil {
				return renderIndex{}, nil, err
			}
			name, digest := n.Name+".redacted.bu", sha256.Sum256(text)
			files[name] = text
			index.Nodes = append(index.Nodes, renderedNode{n.Name, string(n.Role), name, hex.EncodeToString(digest[:])})
		}
		return index, files, nil
	}
	configs, err := nodeconfig.RenderAll(opts, names)
	if err != nil {
		return renderIndex{}, nil, err
	}
	for i, n := range nodes {
		name := n.Name + ".ign"
		files[n.Name+".bu"], files[name] = configs[i].Butane, configs[i].Ignition.Bytes()
		index.Nodes = append(index.Nodes, renderedNode{n.Name, string(n.Role), name, configs[i].Ignition.Digest()})
	}
	return index, files, nil
}

// selectNodes finds nodes by name; no name means all of them.
func selectNodes(c cluster.Cluster, file string, names []string) ([]cluster.Node, error) {
	if len(names) == 0 {
		return c.Spec.Nodes, nil
	}
	var nodes []cluster.Node
	var unknown []string
	for _, name := range names {
		n, ok := c.Node(name)
		if !ok {
			unknown = append(unknown, name)
			continue
		}
		if !slices.ContainsFunc(nodes, func(o cluster.Node) bool { return o.Name == name }) {
			nodes = append(nodes, n)
		}
	}
	if len(unknown) > 0 {
		var known []string
		for _, n := range c.Spec.Nodes {
			known = append(known, n.Name)
		}
		return nil, &usageError{
			fmt.Sprintf("%s has no node %s", file, strings.Join(unknown, ", ")), "its nodes are " + strings.Join(known, ", "),
		}
	}
	return nodes, nil
}
