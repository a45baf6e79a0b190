package wholepath

import (
	"context"
	_ "embed" // for cluster.yaml
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/access"

	"github.com/k8snode/k8snode/internal/lab/kube"
)

//go:embed cluster.yaml
var clusterDocument []byte

// documents are the files that an operator has, all below the work folder.
type documents struct {
	// spec is what the file cluster holds.
	spec       cluster.Cluster
	cluster    string
	secrets    string
	passphrase string
	rendered   string
	data       string
	serveLog   string
	kubeconfig string
	// tokens are those that the server accepts, authority has signed for its
	// site.
	tokens    string
	authority string
	// image is the folder of the image that is served, key the private key that
	// signs it.
	image string
	key   string
	// kubectl is the path of the program.
	kubectl string
}

// publicKey is the file that k8snode keygen writes beside the private key.
func (d documents) publicKey() string { return strings.TrimSuffix(d.key, ".key") + ".pub" }

// token is the file with the token of a role.
func (d documents) token(role access.Role) string { return d.tokens + "." + string(role) }

// secretArgs name the documents that most verbs read.
func (d documents) secretArgs() []string {
	return []string{"--cluster", d.cluster, "--secrets", d.secrets, "--passphrase-file", d.passphrase}
}

// render writes what an operator writes, the cluster and a passphrase, and
// makes the rest of it.
func render(ctx context.Context, opts Options, manifest images.Manifest) (documents, error) {
	docs := documents{
		cluster:    filepath.Join(opts.Dir, "cluster.yaml"),
		secrets:    filepath.Join(opts.Dir, "secrets.age"),
		passphrase: filepath.Join(opts.Dir, "passphrase"),
		rendered:   filepath.Join(opts.Dir, "rendered"),
		data:       filepath.Join(opts.Dir, "data"),
		serveLog:   filepath.Join(opts.Dir, serveLog),
		kubeconfig: filepath.Join(opts.Dir, "admin.conf"),
		tokens:     filepath.Join(opts.Dir, "tokens"),
		authority:  filepath.Join(opts.Dir, "provision-ca.pem"),
		image:      filepath.Join(opts.Dir, "image"),
		key:        filepath.Join(opts.Dir, "image.key"),
	}
	spec, err := cluster.Parse("cluster.yaml", clusterDocument)
	if err != nil {
		return documents{}, err
	}
	docs.spec = spec
	if want := spec.Spec.Kubernetes.Version; manifest.Kubernetes != want {
		return documents{}, fmt.Errorf("the image has Kubernetes %q and cluster.yaml of this test wants %q: change one of them", manifest.Kubernetes, want)
	}
	// The secrets protect nothing but this run.
	files := map[string][]byte{docs.cluster: clusterDocument, docs.passphrase: []byte("correct horse battery staple\n")}
	for path, content := range files {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return documents{}, err
		}
	}
	k8snode := tool{path: opts.K8snode, docs: docs}
	if err := k8snode.initSecrets(ctx); err != nil {
		return documents{}, err
	}
	if err := k8snode.render(ctx, opts.Image); err != nil {
		return documents{}, err
	}
	for _, role := range []access.Role{access.Viewer, access.Operator} {
		if err := k8snode.letIn(ctx, role); err != nil {
			return documents{}, err
		}
	}
	docs.kubectl = opts.Kubectl
	if docs.kubectl == "" {
		docs.kubectl, err = kube.BakedKubectl(ctx, opts.Image, manifest, opts.Dir)
	}
	return docs, err
}

func nodeOfRole(spec cluster.Cluster, role cluster.Role) (cluster.Node, error) {
	i := slices.IndexFunc(spec.Spec.Nodes, func(n cluster.Node) bool { return n.Role == role })
	if i < 0 {
		return cluster.Node{}, fmt.Errorf("the cluster has no node of role %s", role)
	}
	return spec.Spec.Nodes[i], nil
}
