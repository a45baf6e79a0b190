package bootstrap_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/k8snode/k8snode/agent/bootstrap"
	"github.com/k8snode/k8snode/agent/etcd"
	"github.com/k8snode/k8snode/agent/node"
)

// etcdKeys are the keys of etcd, and one lock.
type etcdKeys struct {
	mu       sync.Mutex
	keys     map[string]string
	holder   string
	lock     *keysLock
	failures int
	onHeld   func()
	// members are two voters by default.
	members []etcd.Member
}

func newEtcdKeys() *etcdKeys { return &etcdKeys{keys: map[string]string{}} }

func (e *etcdKeys) Close() {}

func (e *etcdKeys) fail() error {
	if e.failures > 0 {
		e.failures--
		return errors.New("etcdserver: no leader")
	}
	return nil
}

func (e *etcdKeys) Get(_ context.Context, key string) (string, bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	value, found := e.keys[key]
	return value, found, e.fail()
}

func (e *etcdKeys) Create(_ context.Context, key, value string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.fail(); err != nil {
		return "", err
	}
	if have, found := e.keys[key]; found {
		return have, nil
	}
	e.keys[key] = value
	return value, nil
}

func (e *etcdKeys) Members(context.Context) ([]etcd.Member, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.members == nil {
		return []etcd.Member{{Name: "n0"}, {Name: "n1"}}, e.fail()
	}
	return e.members, e.fail()
}

func (e *etcdKeys) Lock(_ context.Context, key, value string, _ time.Duration) (bootstrap.Lock, string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if holder := e.holder; holder != "" {
		if e.onHeld != nil {
			e.onHeld()
		}
		return nil, holder, fmt.Errorf("locking %s: %w by %s", key, etcd.ErrHeld, holder)
	}
	e.holder, e.lock = value, &keysLock{e, make(chan struct{})}
	return e.lock, value, nil
}

type keysLock struct {
	e    *etcdKeys
	lost chan struct{}
}

func (l *keysLock) Lost() <-chan struct{} { return l.lost }

func (l *keysLock) Release() {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	l.e.holder = ""
}

// authority writes one that can sign.
func (m *machine) authority() {
	m.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		m.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		m.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write(node.PKIDir+"/ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), 0o644)
	m.write(node.PKIDir+"/ca.key", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})), 0o600)
}

// joiner is a control plane whose fake kubeadm joins as one.
func joiner(t *testing.T) *machine {
	m := newMachine(t, node.ControlPlane)
	m.opts.Config.Endpoint = "https://api:8443"
	m.authority()
	m.tool("kubeadm", `cp `+m.opts.Root+`/etc/k8snode/discovery.conf `+m.tools+`/used
[ -e `+m.opts.Root+`/etc/kubernetes/pki/ca.key ] || { echo no authority; exit 2; }`)
	return m
}

// A control plane joins a cluster that is there, with a credential of its own.
func TestJoinControlPlane(t *testing.T) {
	m := joiner(t)
	m.etcd.keys["/k8snode/init/1/done"] = "n0"
	if err := m.run(joinCommand, "bootstrapping", "bootstrapping wait", "bootstrapping join", "ready"); err != nil {
		t.Fatal(err)
	}
	m.wantDone("2026-05-01T12:00:00Z join\n")
	m.wantAbsent(node.Discovery)

	used, err := os.ReadFile(m.tools + "/used")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Clusters []struct{ Cluster struct{ Server string } }
		Users    []struct {
			User struct {
				Certificate []byte `json:"client-certificate-data"`
			}
		}
	}
	if err := json.Unmarshal(used, &config); err != nil {
		t.Fatal(err)
	}
	if got := config.Clusters[0].Cluster.Server; got != "https://api:8443" {
		t.Errorf("server is %s", got)
	}
	block, _ := pem.Decode(config.Users[0].User.Certificate)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(m.read(node.PKIDir + "/ca.crt")))
	if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	if got := cert.Subject.String(); got != "CN=system:bootstrap-image:n1,O=system:bootstrappers:kubeadm:default-node-token" {
		t.Errorf("subject is %s", got)
	}
	if life := cert.NotAfter.Sub(now); life > 2*time.Hour {
		t.Errorf("it lives for %s", life)
	}
}

// The only control plane, installed around its data, has nobody to join.
func TestOnlyControlPlaneBeginsUponItsData(t *testing.T) {
	m := newMachine(t, node.ControlPlane)
	m.etcd.keys["/k8snode/init/1/done"] = "n1"
	m.etcd.members = []etcd.Member{{Name: "n1"}, {Name: "n2", Learner: true}}
	m.etcd.failures = 1
	if err := m.run(initCommand+applyCommand, "bootstrapping", "bootstrapping init", "ready"); err != nil {
		t.Fatal(err)
	}
	m.wantDone("2026-05-01T12:00:00Z init\n")
	if m.etcd.holder != "" {
		t.Errorf("%s holds the lock still", m.etcd.holder)
	}
}

// While another node runs kubeadm init, this one waits, and then joins.
func TestLoserJoins(t *testing.T) {
	m := joiner(t)
	m.etcd.holder = "n0"
	asked := 0
	m.etcd.onHeld = func() {
		if asked++; asked == 3 {
			m.etcd.holder, m.etcd.keys["/k8snode/init/1/done"] = "", "n0"
		}
	}
	if err := m.run(joinCommand, "bootstrapping", "bootstrapping wait", "bootstrapping join", "ready"); err != nil {
		t.Fatal(err)
	}
	if asked != 3 || strings.Count(m.log.String(), "another control plane runs kubeadm init") != 1 {
		t.Errorf("asked %d times, log:\n%s", asked, &m.log)
	}
}

// When the node that runs kubeadm init dies, its lock ends, and this one does
// it.
func TestLoserTakesOver(t *testing.T) {
	m := newMachine(t, node.ControlPlane)
	m.etcd.holder = "n0"
	m.etcd.onHeld = func() { m.etcd.holder = "" }
	if err := m.run(initCommand+applyCommand, "bootstrapping", "bootstrapping init", "ready"); err != nil {
		t.Fatal(err)
	}
	if got := m.etcd.keys["/k8snode/init/1/done"]; got != "n1" || m.etcd.holder != "" {
		t.Errorf("done by %q, lock held by %q", got, m.etcd.holder)
	}
}

// A node that loses its lock stops at once: another one may have begun.
func TestLostLock(t *testing.T) {
	m := newMachine(t, node.ControlPlane)
	m.kubeadm("touch " + m.tools + "/running; exec sleep 60")
	go func() {
		for range 1000 {
			if _, err := os.Stat(m.tools + "/running"); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		m.etcd.mu.Lock()
		defer m.etcd.mu.Unlock()
		close(m.etcd.lock.lost)
	}()
	began := time.Now()
	if err := m.run(initCommand, "bootstrapping", "bootstrapping init", "failed init"); err == nil {
		t.Error("it went on")
	}
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("it went on for %s", took)
	}
	if _, done := m.etcd.keys["/k8snode/init/1/done"]; done {
		t.Error("it told the others that it is done")
	}
	m.wantAbsent(node.Done)
}

// A power cut between the end of kubeadm init and telling the others.
func TestTellsTheOthersAfterACrash(t *testing.T) {
	m := newMachine(t, node.ControlPlane)
	m.tool("kubectl", "exit 1")
	if err := m.run(initCommand+applyCommand, "bootstrapping", "bootstrapping init", "failed init"); err == nil {
		t.Fatal("applied")
	}
	if len(m.etcd.keys) != 1 {
		t.Errorf("keys: %v", m.etcd.keys)
	}
	m.tool("kubectl", "echo applied")
	if err := m.run(applyCommand, "bootstrapping", "ready"); err != nil || m.etcd.keys["/k8snode/init/1/done"] != "n1" {
		t.Errorf("%v, keys: %v", err, m.etcd.keys)
	}
}

func TestBrokenAuthority(t *testing.T) {
	m := joiner(t)
	m.etcd.keys["/k8snode/init/1/done"] = "n0"
	m.write(node.PKIDir+"/ca.key", "nonsense", 0o600)
	err := m.run("", "bootstrapping", "failed join")
	if want := "bootstrapping node: making the credential of the join: ca.key is not PEM"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if bytes.Contains(m.out.Bytes(), []byte("nonsense")) {
		t.Error("the key is shown")
	}
}
