package kube

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

// Kubectl runs inside the network, against one API server by address: the
// endpoint's name is known on the nodes only.
type Kubectl struct {
	Network *lab.Network
	// Path of the program, and of the administrator's kubeconfig.
	Path       string
	Kubeconfig string
	// Server is the URL of the API server to ask.
	Server string
}

func (k Kubectl) args(args ...string) []string {
	return append([]string{"--kubeconfig", k.Kubeconfig, "--server", k.Server, "--request-timeout", "30s"}, args...)
}

// Run executes kubectl and returns its standard output; the error carries what it
// said on standard error.
func (k Kubectl) Run(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	cmd := k.Network.Command(ctx, k.Path, k.args(args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	// No proxy and no cache of the host's user.
	cmd.Env = []string{"HOME=" + filepath.Dir(k.Kubeconfig)}
	return Run(cmd, "kubectl "+strings.Join(args, " "))
}

// Get decodes an object or a list.
func (k Kubectl) Get(ctx context.Context, into any, args ...string) error {
	out, err := k.Run(ctx, nil, append(append([]string{"get"}, args...), "-o", "json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("reading the output of kubectl get %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// Metadata is the part of an object's metadata that is used here.
type Metadata struct {
	Name string `json:"name"`
}

// Node is the part of a Node that is used here.
type Node struct {
	Metadata Metadata `json:"metadata"`
	Status   struct {
		Conditions []Condition `json:"conditions"`
		NodeInfo   struct {
			BootID string `json:"bootID"`
		} `json:"nodeInfo"`
		Images []struct {
			Names []string `json:"names"`
		} `json:"images"`
	} `json:"status"`
}

// A Condition is one of a Node or a Pod.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func (n Node) ready() (Condition, bool) {
	for _, c := range n.Status.Conditions {
		if c.Type == "Ready" {
			return c, c.Status == "True"
		}
	}
	return Condition{Reason: "Unknown"}, false
}

// Boot is the identifier of the boot that the kubelet last reported.
func (n Node) Boot() string { return n.Status.NodeInfo.BootID }

// A NodeList is what "get nodes" says.
type NodeList struct {
	Items []Node `json:"items"`
}

// Node finds a node by its name.
func (l NodeList) Node(name string) (Node, bool) {
	for _, n := range l.Items {
		if n.Metadata.Name == name {
			return n, true
		}
	}
	return Node{}, false
}

// AllReady reports whether every named node is Ready, and what is seen.
func (l NodeList) AllReady(names []string) (seen string, ready bool) {
	ready = true
	var words []string
	for _, name := range names {
		word := name + " is missing"
		ok := false
		for _, n := range l.Items {
			if n.Metadata.Name != name {
				continue
			}
			var c Condition
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

// A PodList is what "get pods" says.
type PodList struct {
	Items []struct {
		Metadata Metadata `json:"metadata"`
		Status   struct {
			Phase      string      `json:"phase"`
			Conditions []Condition `json:"conditions"`
		} `json:"status"`
	} `json:"items"`
}

// AllReady reports whether there are pods and every one of them runs and is
// ready, and which is not.
func (l PodList) AllReady() (seen string, ready bool) {
	var words []string
	for _, p := range l.Items {
		ready := false
		for _, c := range p.Status.Conditions {
			ready = ready || c.Type == "Ready" && c.Status == "True"
		}
		if p.Status.Phase != "Running" || !ready {
			words = append(words, p.Metadata.Name+" is "+p.Status.Phase+", not ready")
		}
	}
	if len(l.Items) == 0 {
		return "there are no pods", false
	}
	return strings.Join(words, ", "), len(words) == 0
}

// coreDNS matches the tagged name of the CoreDNS image, from any registry.
var coreDNS = regexp.MustCompile(`/coredns:[^@]+$`)

// PreStaged returns the name of the CoreDNS image that the node has.
func (n Node) PreStaged() (string, bool) {
	for _, image := range n.Status.Images {
		for _, name := range image.Names {
			if coreDNS.MatchString(name) {
				return name, true
			}
		}
	}
	return "", false
}
