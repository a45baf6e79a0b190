package butane_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	agentnode "github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/butane"
)

func request(t testing.TB) (csr string, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:masters"}, DNSNames: []string{"evil.example"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), key
}

// What is renewed says what was delivered, but for its key and its time.
func TestRenew(t *testing.T) {
	in := newInput(t, three(), "cp1")
	delivered := generate(t, in)
	later := in.Now.AddDate(0, 8, 0)
	requests, keys := map[string]string{}, map[string]*ecdsa.PrivateKey{}
	for _, name := range agentnode.EtcdCertificates() {
		requests[name], keys[name] = request(t)
	}
	renewed, err := butane.Renew(butane.RenewInput{Cluster: in.Cluster, Node: "cp1", Bundle: in.Bundle, Requests: requests, Now: later, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range renewed {
		f, ok := delivered.File(agentnode.CertificateFiles(name)[0] + ".crt")
		if !ok {
			t.Fatalf("%s was not delivered", name)
		}
		before, after := parseOne(t, f.Contents.Inline), parseOne(t, text)
		if !keys[name].PublicKey.Equal(after.PublicKey) {
			t.Errorf("%s is for another key", name)
		}
		if !after.NotAfter.Equal(later.Add(8760 * time.Hour)) {
			t.Errorf("%s ends %s", name, after.NotAfter)
		}
		if !bytes.Equal(before.RawSubject, after.RawSubject) || strings.Join(before.DNSNames, " ") != strings.Join(after.DNSNames, " ") ||
			len(before.IPAddresses) != len(after.IPAddresses) || len(before.ExtKeyUsage) != len(after.ExtKeyUsage) || before.KeyUsage != after.KeyUsage {
			t.Errorf("%s says something else: %s %q", name, after.Subject, after.DNSNames)
		}
	}
	if len(renewed) != 4 {
		t.Errorf("got %d certificates", len(renewed))
	}
}

func TestRenewErrors(t *testing.T) {
	in := newInput(t, routed(), "cp1")
	good, _ := request(t)
	block, _ := pem.Decode([]byte(good))
	block.Bytes[len(block.Bytes)-1] ^= 1 // of the signature
	broken := string(pem.EncodeToMemory(block))
	for _, tt := range []struct{ node, name, request, want string }{
		{"w1", "peer", good, `renewing the certificates of "w1": it is no control plane of the cluster`},
		{"cp9", "peer", good, `renewing the certificates of "cp9": it is no control plane of the cluster`},
		{"cp1", "ca", good, `renewing the certificate ca of cp1: there is no certificate "ca"`},
		{"cp1", "peer", "csr", "renewing the certificate peer of cp1: the request is not one CERTIFICATE REQUEST block"},
		{"cp1", "peer", good + good, "the request is not one CERTIFICATE REQUEST block"},
		{"cp1", "peer", broken, "renewing the certificate peer of cp1: x509: "},
	} {
		_, err := butane.Renew(butane.RenewInput{
			Cluster: in.Cluster, Node: tt.node, Bundle: in.Bundle, Now: in.Now, Rand: rand.Reader,
			Requests: map[string]string{path.Base(tt.name): tt.request},
		})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s of %s: got %v, want %s", tt.name, tt.node, err, tt.want)
		}
	}
}

func parseOne(t testing.TB, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("no certificate: %q", text)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Whatever is asked for, under whatever name: who gets a certificate has the key of
// it, and it is one of etcd's, of that node.
func FuzzRenew(f *testing.F) {
	csr, _ := request(f)
	f.Add("server", csr)
	f.Add("ca", csr)
	f.Add("server", csr+"x")
	f.Add("../pki/server", strings.Replace(csr, "CERTIFICATE REQUEST", "CERTIFICATE", 2))
	in := newInput(f, three(), "cp1")
	f.Fuzz(func(t *testing.T, name, text string) {
		renewed, err := butane.Renew(butane.RenewInput{
			Cluster: in.Cluster, Node: "cp1", Bundle: in.Bundle, Requests: map[string]string{name: text}, Now: in.Now, Rand: rand.Reader,
		})
		if err != nil {
			if len(renewed) > 0 {
				t.Errorf("certificates with the error %v", err)
			}
			return
		}
		block, _ := pem.Decode([]byte(text))
		asked, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil || asked.CheckSignature() != nil {
			t.Fatalf("%q was taken for a request", text)
		}
		got := parseOne(t, renewed[name])
		if key, ok := got.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !key.Equal(asked.PublicKey) {
			t.Error("the certificate is for another key")
		}
		if got.IsCA || !slices.Contains(agentnode.EtcdCertificates(), name) || got.CheckSignatureFrom(parseOne(t, in.Bundle.Etcd.Certificate)) != nil {
			t.Errorf("%q is no certificate of etcd: %s", name, got.Subject)
		}
	})
}
