package wholepath

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/k8snode/k8snode/provision/access"
	"github.com/k8snode/k8snode/provision/admin"

	"github.com/k8snode/k8snode/internal/lab"
	"github.com/k8snode/k8snode/internal/lab/kube"
)

// tool is the k8snode program.
type tool struct {
	path string
	docs documents
	// socket is that of the server.
	socket string
	// network is where the server's site is; the site's URL is for operators who
	// have no socket.
	network *lab.Network
	site    string
}

// run executes a verb and returns its standard output; the error carries what
// it said on standard error.
func (t tool) run(ctx context.Context, args ...string) ([]byte, error) {
	return kube.Run(exec.CommandContext(ctx, t.path, args...), "k8snode "+strings.Join(args, " "))
}

// initSecrets makes the cluster's authorities.
func (t tool) initSecrets(ctx context.Context) error {
	_, err := t.run(ctx, "secrets", "init", "--out", t.docs.secrets, "--passphrase-file", t.docs.passphrase)
	return err
}

// render writes the config of every node.
func (t tool) render(ctx context.Context, image string) error {
	args := append([]string{"render"}, t.docs.secretArgs()...)
	_, err := t.run(ctx, append(args, "--image", image, "--out", t.docs.rendered)...)
	return err
}

// serveArgs start the server.
func (t tool) serveArgs(bridge string) []string {
	args := append([]string{"serve"}, t.docs.secretArgs()...)
	return append(args, "--image", t.docs.image, "--image-key", t.docs.publicKey(), "--interface", bridge, "--socket", t.socket, "--data", t.docs.data, "--new-cluster",
		"--operators", strings.TrimPrefix(t.site, "https://"), "--operators-tokens", t.docs.tokens)
}

// letIn makes a token for somebody of a role, and the authority of the site's
// certificate known.
func (t tool) letIn(ctx context.Context, role access.Role) error {
	token, err := t.run(ctx, "token", string(role), "--role", string(role), "--tokens", t.docs.tokens)
	if err != nil {
		return err
	}
	authority, err := t.run(ctx, "secrets", "show", "--secrets", t.docs.secrets, "--passphrase-file", t.docs.passphrase, "--certificate", "k8snode-provision-ca")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(t.docs.token(role), token, 0o600), os.WriteFile(t.docs.authority, authority, 0o600))
}

// bySite runs a verb for somebody who reaches the server by its site.
func (t tool) bySite(ctx context.Context, role access.Role, args ...string) ([]byte, error) {
	args = append(args, "--server", t.site, "--server-ca", t.docs.authority, "--token-file", t.docs.token(role))
	return kube.Run(t.network.Command(ctx, t.path, args...), "k8snode "+strings.Join(args, " "))
}

// nodes asks the server for its nodes.
func (t tool) nodes(ctx context.Context) ([]admin.Node, error) {
	out, err := t.run(ctx, "nodes", "--socket", t.socket, "-o", "json")
	if err != nil {
		return nil, err
	}
	var nodes []admin.Node
	if err := json.Unmarshal(out, &nodes); err != nil {
		return nil, fmt.Errorf("reading the output of k8snode nodes: %w", err)
	}
	if len(nodes) == 0 {
		return nil, errors.New("k8snode nodes prints no node")
	}
	return nodes, nil
}

// arm opens the install windows.
func (t tool) arm(ctx context.Context, names ...string) error {
	args := append([]string{"arm", "--for", "45m"}, names...)
	_, err := t.bySite(ctx, access.Operator, args...)
	return err
}

// writeKubeconfig writes the administrator's credentials.
func (t tool) writeKubeconfig(ctx context.Context) error {
	args := append([]string{"kubeconfig"}, t.docs.secretArgs()...)
	_, err := t.run(ctx, append(args, "--out", t.docs.kubeconfig)...)
	return err
}
