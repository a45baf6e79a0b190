package renew_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/agent/command"
	"github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/agent/renew"
	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/provision/api"
)

const day = 24 * time.Hour

var born = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestDue(t *testing.T) {
	end := born.Add(3650 * day)
	year := renew.Certificate{Name: "year", NotBefore: born, NotAfter: born.Add(365 * day), AuthorityEnds: end}
	decade := renew.Certificate{Name: "decade", NotBefore: born, NotAfter: end, AuthorityEnds: end.Add(day)}
	whole := renew.Certificate{Name: "all its authority's", NotBefore: born, NotAfter: end, AuthorityEnds: end}
	for _, tt := range []struct {
		after time.Duration
		want  string
	}{
		{0, ""},
		{243 * day, ""},
		{244 * day, "year"},
		{400 * day, "year"}, // It has expired.
		{2434 * day, "year decade"},
	} {
		var names []string
		for _, c := range renew.Due([]renew.Certificate{year, decade, whole}, born.Add(tt.after)) {
			names = append(names, c.Name)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("after %s: got %q, want %q", tt.after, got, tt.want)
		}
	}
}

// An authority is etcd's.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd-ca"}, NotBefore: born, NotAfter: born.Add(3650 * day),
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
	return authority{t, key, cert}
}

// sign returns a certificate of a year.
func (a authority) sign(cn string, public any, from time.Time) string {
	a.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: cn}, NotBefore: from, NotAfter: from.Add(365 * day)}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pemOf("CERTIFICATE", der)
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// A machine is a control plane with all its certificates, one year old at most.
type machine struct {
	t    *testing.T
	ca   authority
	opts renew.Options
	log  bytes.Buffer
	// asked are the names that the server was asked for, answer what it does.
	asked  []string
	answer func(name string, public any) string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{t: t, ca: newAuthority(t)}
	root := t.TempDir()
	m.opts = renew.Options{
		Config: node.Config{Name: "cp1", Role: node.ControlPlane, Address: "10.0.0.1"},
		Root:   root, Runner: command.Runner{Dir: filepath.Join(root, "bin")},
		Ask: m.ask, Lock: func(context.Context) (func(), error) { return func() {}, nil },
		Ready: retry.Policy{First: time.Millisecond, Limit: time.Minute},
		Now:   func() time.Time { return born.Add(300 * day) }, Rand: rand.Reader,
	}
	m.opts.Log = slog.New(slog.NewTextHandler(&m.log, nil))
	m.answer = func(_ string, public any) string { return m.ca.sign("cp1", public, m.opts.Now()) }
	m.write(node.Done, "")
	m.write(node.EtcdPKIDir+"/ca.crt", pemOf("CERTIFICATE", m.ca.cert.Raw))
	for _, name := range []string{"ca", "front-proxy-ca"} {
		m.write(node.KubePKIDir+"/"+name+".crt", pemOf("CERTIFICATE", m.ca.cert.Raw))
	}
	for _, name := range node.EtcdCertificates() {
		key := newKey(t)
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for _, stem := range node.CertificateFiles(name) {
			m.write(stem+".key", pemOf("EC PRIVATE KEY", der))
			m.write(stem+".crt", m.ca.sign("cp1", key.Public(), born))
		}
	}
	for _, name := range []string{"apiserver", "apiserver-kubelet-client", "front-proxy-client"} {
		m.write(node.KubePKIDir+"/"+name+".crt", m.ca.sign(name, newKey(t).Public(), born))
	}
	for _, name := range []string{"admin", "controller-manager", "scheduler"} {
		cert := base64.StdEncoding.EncodeToString([]byte(m.ca.sign(name, newKey(t).Public(), born)))
		m.write("/etc/kubernetes/"+name+".conf", "users:\n- name: "+name+"\n  user:\n    client-certificate-data: "+cert+"\n")
	}
	for name, script := range map[string]string{
		"kubeadm": "", "kubectl": "", "crictl": `[ "$1" = ps ] && echo id-$5 || true`,
	} {
		m.write("/bin/"+name, "#!/bin/sh\necho "+name+` "$@" >> `+root+"/calls\n"+script+"\n")
	}
	return m
}

func (m *machine) write(path, content string) {
	m.t.Helper()
	full := filepath.Join(m.opts.Root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o755); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(path string) string {
	m.t.Helper()
	content, err := os.ReadFile(filepath.Join(m.opts.Root, path))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.t.Fatal(err)
	}
	return strings.ReplaceAll(string(content), m.opts.Root, "")
}

func (m *machine) ask(_ context.Context, stem string, r api.RenewRequest) (api.RenewAnswer, error) {
	if want := filepath.Join(m.opts.Root, node.EtcdPKIDir, "server"); stem != want {
		m.t.Errorf("it shows %s, want %s", stem, want)
	}
	answer := api.RenewAnswer{Certificates: map[string]string{}}
	for name, text := range r.Requests {
		block, _ := pem.Decode([]byte(text))
		request, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			return answer, err
		}
		if err := request.CheckSignature(); err != nil {
			return answer, err
		}
		m.asked = append(m.asked, name)
		answer.Certificates[name] = m.answer(name, request.PublicKey)
	}
	return answer, nil
}

const kubeadmCalls = `kubeadm certs renew all --config /etc/k8snode/kubeadm/init.yaml
crictl ps --state running --name ^kube-apiserver$ --quiet
crictl stop --timeout 30 id-^kube-apiserver$
crictl ps --state running --name ^kube-controller-manager$ --quiet
crictl stop --timeout 30 id-^kube-controller-manager$
crictl ps --state running --name ^kube-scheduler$ --quiet
crictl stop --timeout 30 id-^kube-scheduler$
kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://10.0.0.1:6443 --request-timeout 10s get --raw /readyz
`

func TestRun(t *testing.T) {
	m := newMachine(t)
	before := m.read(node.EtcdPKIDir + "/peer.crt")
	if err := renew.Run(t.Context(), m.opts); err != nil {
		t.Fatal(err)
	}
	if len(m.asked) != len(node.EtcdCertificates()) {
		t.Errorf("the server was asked for %v", m.asked)
	}
	if got := m.read("/calls"); got != kubeadmCalls {
		t.Errorf("got\n%s\nwant\n%s", got, kubeadmCalls)
	}
	if m.read(node.EtcdPKIDir+"/peer.crt") == before {
		t.Error("the certificate of peers is the old one")
	}
	if a, b := m.read(node.PKIDir+"/apiserver-etcd-client.crt"), m.read(node.KubePKIDir+"/apiserver-etcd-client.crt"); a != b {
		t.Error("the API server has another certificate than its source")
	}
	// Of what is new nothing is due; kubeadm was a script and renewed nothing.
	m.asked = nil
	if err := renew.Run(t.Context(), m.opts); err != nil || len(m.asked) > 0 {
		t.Errorf("the second run: %v, asked for %v", err, m.asked)
	}
}

func TestNothing(t *testing.T) {
	for name, change := range map[string]func(*machine){
		"worker":           func(m *machine) { m.opts.Config.Role = node.Worker },
		"not bootstrapped": func(m *machine) { os.Remove(filepath.Join(m.opts.Root, node.Done)) },
		"not due":          func(m *machine) { m.opts.Now = func() time.Time { return born.Add(day) } },
	} {
		m := newMachine(t)
		change(m)
		if err := renew.Run(t.Context(), m.opts); err != nil || len(m.asked) > 0 || m.read("/calls") != "" {
			t.Errorf("%s: %v, asked for %v, ran %s", name, err, m.asked, m.read("/calls"))
		}
	}
	m := newMachine(t)
	m.opts.Now, m.opts.All = func() time.Time { return born.Add(day) }, true
	if err := renew.Run(t.Context(), m.opts); err != nil || len(m.asked) != 4 || m.read("/calls") == "" {
		t.Errorf("all: %v, asked for %v", err, m.asked)
	}
}

// What is wrong with an answer, or what fails, leaves all certificates of etcd as
// they were, and does not keep kubeadm's from being renewed.
func TestRefuse(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*machine)
		want   string
	}{
		{"no server", func(m *machine) {
			m.opts.Ask = func(context.Context, string, api.RenewRequest) (api.RenewAnswer, error) {
				return api.RenewAnswer{}, errors.New("no route")
			}
		}, "asking the provisioning server for 4 certificates of etcd, the first of which ends 2027-01-01: no route"},
		{"another key", func(m *machine) {
			m.answer = func(string, any) string { return m.ca.sign("cp1", newKey(t).Public(), m.opts.Now()) }
		}, "it is for another key"},
		{"another name", func(m *machine) {
			m.answer = func(_ string, public any) string { return m.ca.sign("cp2", public, m.opts.Now()) }
		}, "it is for CN=cp2, and this one for CN=cp1"},
		{"another authority", func(m *machine) {
			other := newAuthority(t)
			m.answer = func(_ string, public any) string { return other.sign("cp1", public, m.opts.Now()) }
		}, "certificate signed by unknown authority"},
		{"a shorter life", func(m *machine) {
			m.answer = func(_ string, public any) string { return m.ca.sign("cp1", public, born.Add(-day)) }
		}, "it ends 2026-12-31, and this one 2027-01-01"},
		{"one is missing", func(m *machine) {
			good := m.answer
			m.answer = func(name string, public any) string {
				if name == node.EtcdPeer {
					return ""
				}
				return good(name, public)
			}
		}, "taking the certificate peer that the server sent: it holds no certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			tt.change(m)
			before := m.certificates()
			err := renew.Run(t.Context(), m.opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
			if m.certificates() != before {
				t.Error("a certificate was replaced")
			}
			if m.read("/calls") != kubeadmCalls {
				t.Errorf("kubeadm's were not renewed:\n%s", m.read("/calls"))
			}
		})
	}
}

func (m *machine) certificates() string {
	var all strings.Builder
	for _, name := range node.EtcdCertificates() {
		for _, stem := range node.CertificateFiles(name) {
			fmt.Fprintln(&all, m.read(stem+".crt"))
		}
	}
	return all.String()
}

// A kubeadm that fails restarts nothing.
func TestKubeadmFails(t *testing.T) {
	m := newMachine(t)
	m.write("/bin/kubeadm", "#!/bin/sh\necho no config; exit 1\n")
	err := renew.Run(t.Context(), m.opts)
	if err == nil || !strings.Contains(err.Error(), "no config") || strings.Contains(m.read("/calls"), "crictl") {
		t.Errorf("got %v, ran %s", err, m.read("/calls"))
	}
	if len(m.asked) != 4 {
		t.Errorf("the certificates of etcd were not renewed: %v", m.asked)
	}
}
