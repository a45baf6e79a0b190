package e2e_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/butane/pki"
)

// What a certificate says, but for whom it is: key, number and end.
type certificateProfile struct {
	Subject, Issuer, Key, Signature string
	DNSNames, Addresses             []string
	KeyUsage                        x509.KeyUsage
	ExtKeyUsage                     []x509.ExtKeyUsage
	Authority, Basic                bool
	MaxPathLen                      int
	// Backdated is how long before its making it begins, in minutes.
	Backdated int
}

func profileOf(t *testing.T, text string, made time.Time) certificateProfile {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("no certificate: %q", text)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	p := certificateProfile{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(), Key: c.PublicKeyAlgorithm.String(), Signature: c.SignatureAlgorithm.String(),
		DNSNames: slices.Sorted(slices.Values(c.DNSNames)), KeyUsage: c.KeyUsage, ExtKeyUsage: c.ExtKeyUsage,
		Authority: c.IsCA, Basic: c.BasicConstraintsValid, MaxPathLen: c.MaxPathLen,
		Backdated: int(made.Sub(c.NotBefore).Round(time.Minute).Minutes()),
	}
	for _, a := range c.IPAddresses {
		p.Addresses = append(p.Addresses, a.String())
	}
	slices.Sort(p.Addresses)
	return p
}

// TestCertificates has the kubeadm of the image make all certificates of a control
// plane, and compares those that k8snode makes in its place.
func TestCertificates(t *testing.T) {
	if *image == "" {
		t.Skip("no -image: make test passes it")
	}
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	run(t, "unsquashfs", "-quiet", "-no-progress", "-dest", root, filepath.Join(*image, "pxe", "rootfs.squashfs"), "usr/bin/kubeadm")
	config := filepath.Join(dir, "kubeadm.yaml")
	write(t, config, fmt.Sprintf(`apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: 192.0.2.11}
nodeRegistration: {name: cp1, criSocket: unix:///run/containerd/containerd.sock}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.37.2
certificatesDir: %s
encryptionAlgorithm: ECDSA-P256
`, filepath.Join(dir, "pki")))
	made := time.Now()
	// Without a network there is nobody to ask.
	run(t, "unshare", "--net", filepath.Join(root, "usr/bin/kubeadm"), "init", "phase", "certs", "all", "--config", config)

	opts := pki.Options{Now: made, Rand: rand.Reader}
	b, err := pki.New(opts)
	must(t, err)
	host := pki.Host{Name: "cp1", Address: netip.MustParseAddr("192.0.2.11")}
	leaf := func(pair pki.KeyPair, err error) string {
		must(t, err)
		return pair.Certificate
	}
	for name, ours := range map[string]string{
		"ca":                      b.Kubernetes.Certificate,
		"front-proxy-ca":          b.FrontProxy.Certificate,
		"etcd/ca":                 b.Etcd.Certificate,
		"etcd/server":             leaf(b.EtcdServer(host, opts)),
		"etcd/peer":               leaf(b.EtcdPeer(host, opts)),
		"etcd/healthcheck-client": leaf(b.EtcdHealthcheckClient(opts)),
		"apiserver-etcd-client":   leaf(b.APIServerEtcdClient(opts)),
	} {
		theirs := read(t, filepath.Join(dir, "pki", name+".crt"))
		if diff := cmp.Diff(profileOf(t, theirs, made), profileOf(t, ours, made)); diff != "" {
			t.Errorf("%s (-kubeadm +k8snode):\n%s", name, diff)
		}
	}
}
