package butane

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/k8snode/k8snode/butane/cluster"
	"github.com/k8snode/k8snode/butane/pki"
)

// RenewInput is what the certificates of a node that runs depend on.
type RenewInput struct {
	Cluster cluster.Cluster
	// Node is the name of a control plane.
	Node   string
	Bundle pki.Bundle
	// Requests are PKCS #10, PEM, by the names of certificates.
	Requests map[string]string
	Now      time.Time
	// Rand is the source of serial numbers.
	Rand io.Reader
}

// Renew mints the certificates of etcd that are asked for, as [Generate] does, for
// the keys of the requests: PEM, by name. Nothing else in a request counts.
func Renew(in RenewInput) (map[string]string, error) {
	self, ok := in.Cluster.Node(in.Node)
	if !ok || self.Role != cluster.ControlPlane {
		return nil, fmt.Errorf("renewing the certificates of %q: it is no control plane of the cluster", in.Node)
	}
	n := node{Input: Input{Cluster: in.Cluster, Node: in.Node, Bundle: in.Bundle, Now: in.Now, Rand: in.Rand}, Node: self, spec: in.Cluster.Spec}
	certificates := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(in.Requests)) {
		key, err := requestedKey(in.Requests[name])
		if err != nil {
			return nil, fmt.Errorf("renewing the certificate %s of %s: %w", name, in.Node, err)
		}
		opts := n.mint()
		opts.PublicKey = key
		pair, err := etcdLeaf(n, name, opts)
		if err != nil {
			return nil, fmt.Errorf("renewing the certificate %s of %s: %w", name, in.Node, err)
		}
		certificates[name] = pair.Certificate
	}
	return certificates, nil
}

// requestedKey reads a request, which proves that whoever sends it has the key.
func requestedKey(text string) (crypto.PublicKey, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
		return nil, errors.New("the request is not one CERTIFICATE REQUEST block")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	if err := request.CheckSignature(); err != nil {
		return nil, err
	}
	return request.PublicKey, nil
}
