package pki_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/butane/pki"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func options() pki.Options {
	return pki.Options{Now: now, Rand: rand.NewChaCha8([32]byte{1})}
}

func newBundle(t *testing.T) pki.Bundle {
	t.Helper()
	b, err := pki.New(options())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parse(t *testing.T, p pki.KeyPair) *x509.Certificate {
	t.Helper()
	if _, err := tls.X509KeyPair([]byte(p.Certificate), []byte(p.Key)); err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(p.Certificate))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func TestAuthorities(t *testing.T) {
	b := newBundle(t)
	tests := []struct {
		cn        string
		pair      pki.KeyPair
		notBefore time.Time
	}{
		{"kubernetes", b.Kubernetes, now.Add(-5 * time.Minute)},
		{"front-proxy-ca", b.FrontProxy, now.Add(-5 * time.Minute)},
		{"etcd-ca", b.Etcd, now.Add(-5 * time.Minute)},
		{"k8snode-provision-ca", b.Provision, now.Add(-87600 * time.Hour)},
	}
	for _, test := range tests {
		t.Run(test.cn, func(t *testing.T) {
			cert := parse(t, test.pair)
			if got := cert.Subject.String(); got != "CN="+test.cn {
				t.Errorf("subject is %s", got)
			}
			if !cert.IsCA || !cert.BasicConstraintsValid {
				t.Error("certificate is not an authority's")
			}
			if want := x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign; cert.KeyUsage != want {
				t.Errorf("key usage is %b, want %b", cert.KeyUsage, want)
			}
			if diff := cmp.Diff([]string{test.cn}, cert.DNSNames); diff != "" {
				t.Errorf("DNS names (-want +got):\n%s", diff)
			}
			if !cert.NotBefore.Equal(test.notBefore) {
				t.Errorf("begins %s, want %s", cert.NotBefore, test.notBefore)
			}
			if want := now.Add(87600 * time.Hour); !cert.NotAfter.Equal(want) {
				t.Errorf("ends %s, want %s", cert.NotAfter, want)
			}
			if key, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
				t.Errorf("public key is a %T, want ECDSA on P-256", cert.PublicKey)
			}
		})
	}
}

// A leafCase is one kind of leaf with its profile, written out.
type leafCase struct {
	name      string
	mint      func(pki.Bundle, pki.Options) (pki.KeyPair, error)
	authority func(pki.Bundle) pki.KeyPair
	subject   string
	usages    []x509.ExtKeyUsage
	dns       []string
	addresses []string
	notBefore time.Time
	validity  time.Duration
}

func leafCases() []leafCase {
	var (
		host       = pki.Host{Name: "cp1", Address: netip.MustParseAddr("192.168.7.11")}
		client     = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		server     = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		both       = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		etcd       = func(b pki.Bundle) pki.KeyPair { return b.Etcd }
		kubernetes = func(b pki.Bundle) pki.KeyPair { return b.Kubernetes }
		provision  = func(b pki.Bundle) pki.KeyPair { return b.Provision }
		recent     = now.Add(-5 * time.Minute)
		addresses  = []string{"192.168.7.11", "127.0.0.1", "::1"}
	)
	return []leafCase{
		{
			name:      "etcd server",
			mint:      func(b pki.Bundle, o pki.Options) (pki.KeyPair, error) { return b.EtcdServer(host, o) },
			authority: etcd, subject: "CN=cp1", usages: both,
			dns: []string{"cp1", "localhost"}, addresses: addresses,
			notBefore: recent, validity: 8760 * time.Hour,
		},
		{
			name:      "etcd peer",
			mint:      func(b pki.Bundle, o pki.Options) (pki.KeyPair, error) { return b.EtcdPeer(host, o) },
			authority: etcd, subject: "CN=cp1", usages: both,
			dns: []string{"cp1", "localhost"}, addresses: addresses,
			notBefore: recent, validity: 8760 * time.Hour,
		},
		{
			name:      "etcd healthcheck client",
			mint:      pki.Bundle.EtcdHealthcheckClient,
			authority: etcd, subject: "CN=kube-etcd-healthcheck-client", usages: client,
			notBefore: recent, validity: 8760 * time.Hour,
		},
		{
			name:      "API server's etcd client",
			mint:      pki.Bundle.APIServerEtcdClient,
			authority: etcd, subject: "CN=kube-apiserver-etcd-client", usages: client,
			notBefore: recent, validity: 8760 * time.Hour,
		},
		{
			name:      "join credential",
			mint:      func(b pki.Bundle, o pki.Options) (pki.KeyPair, error) { return b.JoinCredential("w1", o) },
			authority: kubernetes, usages: client,
			subject:   "CN=system:bootstrap-image:w1,O=system:bootstrappers:kubeadm:default-node-token",
			notBefore: recent, validity: 24 * time.Hour,
		},
		{
			name:      "operator",
			mint:      pki.Bundle.Operator,
			authority: kubernetes, subject: "CN=kubernetes-admin,O=system:masters", usages: client,
			notBefore: recent, validity: 24 * time.Hour,
		},
		{
			name: "provisioning server",
			mint: func(b pki.Bundle, o pki.Options) (pki.KeyPair, error) {
				return b.ProvisionServer(netip.MustParseAddr("192.168.7.1"), o)
			},
			authority: provision, subject: "CN=k8snode-provision", usages: server,
			addresses: []string{"192.168.7.1"},
			notBefore: now.Add(-87600 * time.Hour), validity: 8760 * time.Hour,
		},
	}
}

func TestLeaves(t *testing.T) {
	b := newBundle(t)
	for _, test := range leafCases() {
		t.Run(test.name, func(t *testing.T) {
			pair, err := test.mint(b, options())
			if err != nil {
				t.Fatal(err)
			}
			cert := parse(t, pair)
			if got := cert.Subject.String(); got != test.subject {
				t.Errorf("subject is %s, want %s", got, test.subject)
			}
			if diff := cmp.Diff(test.usages, cert.ExtKeyUsage); diff != "" {
				t.Errorf("extended key usages (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.dns, cert.DNSNames); diff != "" {
				t.Errorf("DNS names (-want +got):\n%s", diff)
			}
			var addresses []string
			for _, a := range cert.IPAddresses {
				addresses = append(addresses, a.String())
			}
			if diff := cmp.Diff(test.addresses, addresses); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			if want := x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature; cert.KeyUsage != want || cert.IsCA {
				t.Errorf("key usage is %b, authority %t; want %b, false", cert.KeyUsage, cert.IsCA, want)
			}
			if !cert.NotBefore.Equal(test.notBefore) {
				t.Errorf("begins %s, want %s", cert.NotBefore, test.notBefore)
			}
			if want := now.Add(test.validity); !cert.NotAfter.Equal(want) {
				t.Errorf("ends %s, want %s", cert.NotAfter, want)
			}
			verify := func(authority pki.KeyPair, at time.Time) error {
				roots := x509.NewCertPool()
				roots.AppendCertsFromPEM([]byte(authority.Certificate))
				_, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: test.usages})
				return err
			}
			if err := verify(test.authority(b), now); err != nil {
				t.Errorf("with its own authority: %v", err)
			}
			if err := verify(b.FrontProxy, now); !errors.As(err, new(x509.UnknownAuthorityError)) {
				t.Errorf("with another authority: %v, want an unknown authority", err)
			}
			if err := verify(test.authority(b), now.Add(test.validity+time.Second)); !errors.As(err, new(x509.CertificateInvalidError)) {
				t.Errorf("after its end: %v, want an invalid certificate", err)
			}
		})
	}
}

// A machine whose clock stands at the build of its systemd must trust the
// provisioning server all the same.
func TestProvisionServerWithWrongClock(t *testing.T) {
	b := newBundle(t)
	pair, err := b.ProvisionServer(netip.MustParseAddr("192.168.7.1"), options())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(b.Provision.Certificate))
	if _, err := parse(t, pair).Verify(x509.VerifyOptions{
		Roots:       roots,
		DNSName:     "192.168.7.1",
		CurrentTime: now.AddDate(-3, 0, 0),
	}); err != nil {
		t.Error(err)
	}
}

func TestLeafEndsWithItsAuthority(t *testing.T) {
	b := newBundle(t)
	end := now.Add(87600 * time.Hour)
	opts := options()
	opts.Now = end.Add(-time.Hour)
	opts.Validity = 8760 * time.Hour
	pair, err := b.EtcdHealthcheckClient(opts)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := pair.NotAfter(); err != nil || !got.Equal(end) {
		t.Errorf("leaf ends %s (%v), want %s", got, err, end)
	}

	opts.Now = end
	_, err = b.EtcdHealthcheckClient(opts)
	if !errors.Is(err, pki.ErrAuthorityExpired) {
		t.Errorf("error is %v, want %v", err, pki.ErrAuthorityExpired)
	}
	want := `minting certificate "kube-etcd-healthcheck-client": authority has expired: etcd-ca, on 2036-11-19T12:00:00Z`
	if err == nil || err.Error() != want {
		t.Errorf("error is %q, want %q", err, want)
	}
}

func TestSameRandomnessSameBytes(t *testing.T) {
	if diff := cmp.Diff(newBundle(t), newBundle(t)); diff != "" {
		t.Errorf("two bundles of the same randomness differ (-first +second):\n%s", diff)
	}
	other, err := pki.New(pki.Options{Now: now, Rand: rand.NewChaCha8([32]byte{2})})
	if err != nil {
		t.Fatal(err)
	}
	if other.Kubernetes.Key == newBundle(t).Kubernetes.Key || other.ClusterID == newBundle(t).ClusterID {
		t.Error("two bundles of different randomness share a key or an ID")
	}
}

func TestMintErrors(t *testing.T) {
	b := newBundle(t)
	mixed := b
	mixed.Etcd.Key = b.Kubernetes.Key
	tests := []struct {
		name   string
		bundle pki.Bundle
		opts   pki.Options
		want   string
	}{
		{"no time", b, pki.Options{Rand: options().Rand}, "internal error: no time given"},
		{"no randomness", b, pki.Options{Now: now}, "internal error: no source of randomness given"},
		{"little randomness", b, pki.Options{Now: now, Rand: strings.NewReader("short")}, "reading randomness: unexpected EOF"},
		{"useless randomness", b, pki.Options{Now: now, Rand: zeros{}}, "making a key: source of randomness gave no scalar of P-256 in 16 attempts"},
		{"negative validity", b, pki.Options{Now: now, Rand: options().Rand, Validity: -time.Hour}, "validity -1h0m0s is negative"},
		{"foreign key", mixed, options(), "authority: private key does not belong to the certificate"},
		{"no authority", pki.Bundle{}, options(), "authority: certificate is not one CERTIFICATE block of PEM"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.bundle.EtcdHealthcheckClient(test.opts)
			want := `minting certificate "kube-etcd-healthcheck-client": ` + test.want
			if err == nil || err.Error() != want {
				t.Errorf("error is %v, want %s", err, want)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func ExampleNew() {
	// A fixed source of randomness makes fixed keys; use crypto/rand.Reader.
	b, err := pki.New(pki.Options{
		Now:  time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		Rand: rand.NewChaCha8([32]byte{1}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	end, err := b.Kubernetes.NotAfter()
	fmt.Println(end.Format(time.DateOnly), err)
	// Output: 2036-11-19 <nil>
}

// Passwords and keys of a bundle: what their readers take, and no two alike.
func TestRandomSecrets(t *testing.T) {
	b := newBundle(t)
	if !regexp.MustCompile(`^[A-Za-z0-9]{8}$`).MatchString(b.KeepalivedPassword) {
		t.Errorf("keepalived password is %q", b.KeepalivedPassword)
	}
	if key, err := base64.StdEncoding.DecodeString(b.EncryptionKey); err != nil || len(key) != 32 {
		t.Errorf("encryption key is %q", b.EncryptionKey)
	}
	opts := options()
	opts.Rand = rand.NewChaCha8([32]byte{2})
	other, err := pki.New(opts)
	if err != nil || other.KeepalivedPassword == b.KeepalivedPassword || other.EncryptionKey == b.EncryptionKey {
		t.Errorf("another bundle has %q and %q, %v", other.KeepalivedPassword, other.EncryptionKey, err)
	}
	for want, edit := range map[string]func(*pki.Bundle){
		"keepalived password is not 8 letters and digits": func(b *pki.Bundle) { b.KeepalivedPassword = "" },
		"encryption key is not 32 bytes as base64":        func(b *pki.Bundle) { b.EncryptionKey = "AAAA" },
	} {
		broken := b
		edit(&broken)
		if err := broken.Validate(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A clock that is behind the authorities would make what no machine takes.
func TestClockBehind(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	b, err := pki.New(pki.Options{Now: now, Rand: cryptorand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		behind time.Duration
		want   error
	}{{0, nil}, {4 * time.Minute, nil}, {6 * time.Minute, pki.ErrAuthorityNotYet}} {
		then := now.Add(-tt.behind)
		_, err := b.Operator(pki.Options{Now: then, Rand: cryptorand.Reader})
		if begun := b.Begun(then); !errors.Is(begun, tt.want) || !errors.Is(err, tt.want) {
			t.Errorf("%v behind: %v and %v, want %v", tt.behind, begun, err, tt.want)
		}
	}
	const want = "authority is not valid yet: kubernetes begins at 2026-11-22T11:55:00Z, and the clock says 2020-01-01T00:00:00Z: set the clock"
	if err := b.Begun(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)); err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
