package wholepath

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/k8snode/k8snode/internal/lab"
)

// kubectl runs inside the network, against one API server by address: the
// endpoint's name is known on the nodes only.
type kubectl struct {
	network    *lab.Network
	path       string
	kubeconfig string
	server     string
}

func (k kubectl) args(args ...string) []string {
	return append([]string{"--kubeconfig", k.kubeconfig, "--server", k.server, "--request-timeout", "30s"}, args...)
}

func (k kubectl) run(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	cmd := k.network.Command(ctx, k.path, k.args(args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	// No proxy and no cache of the host's user.
	cmd.Env = []string{"HOME=" + filepath.Dir(k.kubeconfig)}
	return runProgram(cmd, "kubectl "+strings.Join(args, " "))
}

// get decodes an object or a list.
func (k kubectl) get(ctx context.Context, into any, args ...string) error {
	out, err := k.run(ctx, nil, append(append([]string{"get"}, args...), "-o", "json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("reading the output of kubectl get %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// metadata is the part of an object's metadata that is used here.
type metadata struct {
	Name string `json:"name"`
}

// node is the part of a Node that is used here.
type node struct {
	Metadata metadata `json:"metadata"`
	Status   struct {
		Conditions []condition `json:"conditions"`
		Images     []struct {
			Names []string `json:"names"`
		} `json:"images"`
	} `json:"status"`
}

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func (n node) ready() (condition, bool) {
	for _, c := range n.Status.Conditions {
		if c.Type == "Ready" {
			return c, c.Status == "True"
		}
	}
	return condition{Reason: "Unknown"}, false
}

type nodeList struct {
	Items []node `json:"items"`
}

// allReady reports whether every named node is Ready, and what is seen.
func (l nodeList) allReady(names []string) (seen string, ready bool) {
	ready = true
	var words []string
	for _, name := range names {
		word := name + " is missing"
		ok := false
		for _, n := range l.Items {
			if n.Metadata.Name != name {
				continue
			}
			var c condition
			if c, ok = n.ready(); ok {
				word = name + " is Ready"
			} else {
				word = fmt.Sprintf("%s is not Ready (%s: %s)", name, c.Reason, c.Message)
			}
		}
		ready = ready && ok
		words = append(words, word)
	}
	return strings.Join(words, ", "), ready
}

// coreDNS matches the tagged name of the CoreDNS image, from any registry.
var coreDNS = regexp.MustCompile(`/coredns:[^@]+$`)

// preStaged returns the name of the CoreDNS image that the node has.
func (n node) preStaged() (string, bool) {
	for _, image := range n.Status.Images {
		for _, name := range image.Names {
			if coreDNS.MatchString(name) {
				return name, true
			}
		}
	}
	return "", false
}
