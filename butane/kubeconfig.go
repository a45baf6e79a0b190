package butane

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"

	agentnode "github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
)

// kubeconfig is a client configuration with one cluster and one user:
// https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/.
type kubeconfig struct {
	APIVersion     string              `yaml:"apiVersion"`
	Kind           string              `yaml:"kind"`
	CurrentContext string              `yaml:"current-context"`
	Clusters       []kubeconfigCluster `yaml:"clusters"`
	Contexts       []kubeconfigContext `yaml:"contexts"`
	Users          []kubeconfigUser    `yaml:"users"`
}

type kubeconfigCluster struct {
	Name    string            `yaml:"name"`
	Cluster kubeconfigAddress `yaml:"cluster"`
}

type kubeconfigAddress struct {
	Server                   string `yaml:"server"`
	TLSServerName            string `yaml:"tls-server-name,omitempty"`
	CertificateAuthorityData string `yaml:"certificate-authority-data"`
}

type kubeconfigContext struct {
	Name    string              `yaml:"name"`
	Context kubeconfigSelection `yaml:"context"`
}

type kubeconfigSelection struct {
	Cluster string `yaml:"cluster"`
	User    string `yaml:"user"`
}

type kubeconfigUser struct {
	Name string                `yaml:"name"`
	User kubeconfigCredentials `yaml:"user"`
}

type kubeconfigCredentials struct {
	ClientCertificateData string `yaml:"client-certificate-data"`
	ClientKeyData         string `yaml:"client-key-data"`
}

// Kubeconfig returns the operator's kubeconfig. It reaches the endpoint's
// virtual address, or else the first control plane, by address, as the
// operator's machine need not resolve the endpoint, and expects the endpoint's
// name in its certificate. Its certificate is
// [pki.Bundle.Operator]: it may do anything and cannot be revoked, so its life
// is short unless Options.Validity says otherwise.
func Kubeconfig(c cluster.Cluster, b pki.Bundle, opts pki.Options) ([]byte, error) {
	content, err := operatorKubeconfig(c, b, opts)
	if err != nil {
		return nil, fmt.Errorf("making the kubeconfig of cluster %q: %w", c.Metadata.Name, err)
	}
	return content, nil
}

func operatorKubeconfig(c cluster.Cluster, b pki.Bundle, opts pki.Options) ([]byte, error) {
	controlPlanes := c.ControlPlanes()
	if len(controlPlanes) == 0 {
		return nil, errors.New("cluster has no control plane")
	}
	credentials, err := b.Operator(opts)
	if err != nil {
		return nil, err
	}
	server := kubeconfigAddress{
		Server:        serverURL(controlPlanes[0].IP().String(), cluster.APIServerPort),
		TLSServerName: c.Spec.Endpoint.Name,
	}
	if e := c.Spec.Endpoint; e.VIP != "" {
		server.Server = serverURL(e.VIP, e.Port)
	}
	return marshalYAML(newKubeconfig(c.Metadata.Name, "kubernetes-admin", server, b, credentials))
}

// discoveryFiles are the kubeconfig with which a worker joins. Its certificate
// is in the group of bootstrap tokens, so that it needs none. A control plane
// holds the authority and makes its own, which cannot be too old.
func discoveryFiles(n node) ([]File, error) {
	if n.controlPlane() {
		return nil, nil
	}
	opts := n.mint()
	opts.Validity = n.JoinValidity
	credentials, err := n.Bundle.JoinCredential(n.Name, opts)
	if err != nil {
		return nil, err
	}
	server := kubeconfigAddress{Server: serverURL(n.spec.Endpoint.Name, n.spec.Endpoint.Port)}
	content, err := marshalYAML(newKubeconfig(n.Cluster.Metadata.Name, n.Name, server, n.Bundle, credentials))
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", agentnode.Discovery, err)
	}
	return []File{file(agentnode.Discovery, 0o600, string(content))}, nil
}

func newKubeconfig(clusterName, user string, server kubeconfigAddress, b pki.Bundle, credentials pki.KeyPair) kubeconfig {
	server.CertificateAuthorityData = encode(b.Kubernetes.Certificate)
	context := user + "@" + clusterName
	return kubeconfig{
		APIVersion:     "v1",
		Kind:           "Config",
		CurrentContext: context,
		Clusters:       []kubeconfigCluster{{clusterName, server}},
		Contexts:       []kubeconfigContext{{context, kubeconfigSelection{Cluster: clusterName, User: user}}},
		Users:          []kubeconfigUser{{user, kubeconfigCredentials{encode(credentials.Certificate), encode(credentials.Key)}}},
	}
}

func serverURL(host string, port int) string {
	return "https://" + net.JoinHostPort(host, strconv.Itoa(port))
}

func encode(pem string) string {
	return base64.StdEncoding.EncodeToString([]byte(pem))
}
