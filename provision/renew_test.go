package provision_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
)

// A renewer is an authority of members.
type renewer struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newRenewer(t *testing.T) renewer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "members"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return renewer{t, key, cert}
}

func (r renewer) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.cert.Raw})
}

// client is what a node shows, until the given time from now.
func (r renewer) client(cn string, until time.Duration) []tls.Certificate {
	r.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: cn}, NotBefore: r.cert.NotBefore, NotAfter: time.Now().Add(until),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, r.cert, key.Public(), r.key)
	if err != nil {
		r.t.Fatal(err)
	}
	return []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
}

// TestRenew serves renewals over TLS: only to a node that shows its own
// certificate, from its own address.
func TestRenew(t *testing.T) {
	members, strangers := newRenewer(t), newRenewer(t)
	opts := options(t)
	address := freePort(t, "tcp")
	record, log := new(lockedBuffer), new(lockedBuffer)
	opts.TLSListen, opts.TLSURL, opts.Now, opts.Audit = address, "https://"+address, time.Now, audit.New(record, time.Now, audit.Tail{})
	opts.Logger = slog.New(slog.NewTextHandler(log, nil))
	opts.RenewCA = members.pem()
	opts.Inventory[1].Address = netip.MustParsePrefix("127.0.0.9/8")
	var fails error
	opts.Renew = func(_ context.Context, node string, r api.RenewRequest) (api.RenewAnswer, error) {
		return api.RenewAnswer{Certificates: map[string]string{"peer": "for " + node + ": " + r.Requests["peer"]}}, fails
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, opts) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(opts.CA)
	post := func(from string, own []tls.Certificate, body string) (int, string, error) {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c := http.Client{Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: own},
		}}
		resp, err := c.Post(opts.TLSURL+api.PathRenew, "application/json", strings.NewReader(body))
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, strings.TrimSpace(string(b)), err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}

	const request = `{"requests":{"peer":"csr"}}`
	for _, tt := range []struct {
		name, from string
		own        []tls.Certificate
		body       string
		status     int
		answer     string
	}{
		{"own", addrA, members.client("a", time.Hour), request, 200, `{"certificates":{"peer":"for a: csr"}}`},
		{"no certificate", addrA, nil, request, 403, "refused"},
		{"another address", thief, members.client("a", time.Hour), request, 403, "refused"},
		{"no node", addrA, members.client("kube-etcd-healthcheck-client", time.Hour), request, 403, "refused"},
		{"nothing asked", addrA, members.client("a", time.Hour), `{}`, 400, "reading a renewal: it asks for no certificate"},
		{"no JSON", addrA, members.client("a", time.Hour), `{`, 400, "reading a renewal: unexpected end of JSON input"},
		{"too long", addrA, members.client("a", time.Hour), `{"requests":{"peer":"` + strings.Repeat("x", 64<<10) + `"}}`, 400, "reading a renewal: http: request body too large"},
	} {
		status, answer, err := post(tt.from, tt.own, tt.body)
		if err != nil || status != tt.status || answer != tt.answer {
			t.Errorf("%s: got %d %q, %v; want %d %q", tt.name, status, answer, err, tt.status, tt.answer)
		}
	}
	for name, own := range map[string][]tls.Certificate{"expired": members.client("a", -time.Minute), "another authority": strangers.client("a", time.Hour)} {
		if status, answer, err := post(addrA, own, request); err == nil {
			t.Errorf("%s: got %d %q", name, status, answer)
		}
	}
	fails = errors.New("the authority has expired")
	if status, answer, err := post(addrA, members.client("a", time.Hour), request); err != nil || status != 503 || answer != "not available now" {
		t.Errorf("a failure: got %d %q, %v", status, answer, err)
	}
	for _, want := range []string{`"action":"renew","result":"granted","detail":"peer"`, "the certificate is of no node of the inventory", "the request shows no certificate"} {
		if !strings.Contains(record.String(), want) {
			t.Errorf("the audit does not say %q:\n%s", want, record.String())
		}
	}
	if !bytes.Contains([]byte(log.String()), []byte("the authority has expired")) {
		t.Errorf("the log does not say why:\n%s", log.String())
	}
}

// A server without renewals has no such path.
func TestNoRenew(t *testing.T) {
	f := newFixture(t, nil)
	if got := f.from(addrA, http.MethodPost, f.api.URL+api.PathRenew, "", "{}"); got.status != http.StatusNotFound {
		t.Errorf("got %d %s", got.status, got.body)
	}
}
