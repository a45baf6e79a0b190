package bootstrap

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"time"

	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/internal/atomicfile"
)

const (
	// bootstrapGroup is the group that kubeadm binds to all that a joining
	// node needs.
	bootstrapGroup = "system:bootstrappers:kubeadm:default-node-token"
	// credentialLife covers one attempt with all its waits.
	credentialLife = 2 * time.Hour
	// backdate is kubeadm's: clocks of nodes differ.
	backdate = 5 * time.Minute
)

// kubeconfig is a client configuration, written as JSON, which is YAML:
// https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/.
type kubeconfig struct {
	APIVersion     string  `json:"apiVersion"`
	Kind           string  `json:"kind"`
	CurrentContext string  `json:"current-context"`
	Clusters       []named `json:"clusters"`
	Contexts       []named `json:"contexts"`
	Users          []named `json:"users"`
}

type named struct {
	Name    string       `json:"name"`
	Cluster *clusterPart `json:"cluster,omitempty"`
	Context *contextPart `json:"context,omitempty"`
	User    *userPart    `json:"user,omitempty"`
}

type clusterPart struct {
	Server string `json:"server"`
	CA     []byte `json:"certificate-authority-data"`
}

type contextPart struct {
	Cluster string `json:"cluster"`
	User    string `json:"user"`
}

type userPart struct {
	Certificate []byte `json:"client-certificate-data"`
	Key         []byte `json:"client-key-data"`
}

// mintDiscovery writes the credential with which a control plane joins. It is
// signed with the authority that the node holds, so it is never too old.
func (b *bootstrapper) mintDiscovery() error {
	content, err := b.discovery()
	if err != nil {
		return fmt.Errorf("making the credential of the join: %w", err)
	}
	return atomicfile.Write(b.path(node.Discovery), content, 0o600)
}

func (b *bootstrapper) discovery() ([]byte, error) {
	caPEM, err := os.ReadFile(b.path(node.PKIDir + "/ca.crt"))
	if err != nil {
		return nil, err
	}
	keyPEM, err := os.ReadFile(b.path(node.PKIDir + "/ca.key"))
	if err != nil {
		return nil, err
	}
	certificate, key, err := mint(caPEM, keyPEM, "system:bootstrap-image:"+b.opts.Config.Name, b.opts.Now(), b.opts.Rand)
	if err != nil {
		return nil, err
	}
	const cluster, user = "kubernetes", "bootstrap"
	return json.Marshal(kubeconfig{
		APIVersion: "v1", Kind: "Config", CurrentContext: user,
		Clusters: []named{{Name: cluster, Cluster: &clusterPart{b.opts.Config.Endpoint, caPEM}}},
		Contexts: []named{{Name: user, Context: &contextPart{cluster, user}}},
		Users:    []named{{Name: user, User: &userPart{certificate, key}}},
	})
}

// mint makes a client certificate of the bootstrap group.
func mint(caPEM, caKeyPEM []byte, name string, now time.Time, rand io.Reader) (certificate, key []byte, err error) {
	block, _ := pem.Decode(caPEM)
	if block == nil {
		return nil, nil, errors.New("ca.crt is not PEM")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("reading ca.crt: %w", err)
	}
	if block, _ = pem.Decode(caKeyPEM); block == nil {
		return nil, nil, errors.New("ca.key is not PEM")
	}
	caKey, err := parseKey(block)
	if err != nil {
		return nil, nil, fmt.Errorf("reading ca.key: %w", err)
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand)
	if err != nil {
		return nil, nil, err
	}
	serial := make([]byte, 16)
	if _, err := io.ReadFull(rand, serial); err != nil {
		return nil, nil, err
	}
	serial[0] &= 0x7f
	template := &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes(serial),
		Subject:               pkix.Name{CommonName: name, Organization: []string{bootstrapGroup}},
		NotBefore:             now.Add(-backdate).UTC(),
		NotAfter:              now.Add(credentialLife).UTC(),
		KeyUsage:              x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand, template, ca, own.Public(), caKey)
	if err != nil {
		return nil, nil, err
	}
	ownDER, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: ownDER}), nil
}

// parseKey reads our own keys, and those of authorities that kubeadm made.
func parseKey(block *pem.Block) (any, error) {
	switch block.Type {
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	return x509.ParsePKCS8PrivateKey(block.Bytes)
}
