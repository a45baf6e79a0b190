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
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	randv2 "math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/inventory"
	"github.com/k8snode/k8snode/provision/library"
)

const (
	macA    = "52-54-00-00-00-01"
	imageID = "0123abcd"

	scriptURL = "/boot/machine.ipxe?mac=" + macA
	seedURL   = "/seed/machine.cpio?mac=" + macA
)

// The addresses of node a and of a thief, both on loopback.
const (
	addrA = "127.0.0.1"
	thief = "127.0.0.2"
)

// clock is a clock that tests turn.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// lockedBuffer is a bytes.Buffer for a writer in another goroutine.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// authority makes a CA and a certificate for the loopback addresses.
func authority(t *testing.T) (ca []byte, cert tls.Certificate) {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, template, template, caKey.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "provision"},
		NotBefore: template.NotBefore, NotAfter: template.NotAfter,
		IPAddresses: []net.IP{net.ParseIP(addrA)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, template, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	return ca, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// stub is what a test's Stub makes.
type stub struct{ URL, Token string }

// fixture is a server with two machines and an operator.
type fixture struct {
	t     *testing.T
	opts  provision.Options
	srv   *provision.Server
	clock *clock
	audit *lockedBuffer
	boot  *httptest.Server
	api   *httptest.Server

	mu       sync.Mutex
	rendered int
	// config is what Config returns; nil: a config with the report token.
	config func(node, token string) ([]byte, error)
}

func options(t *testing.T) provision.Options {
	t.Helper()
	dir, _ := imageFolder(t)
	ca, cert := authority(t)
	return provision.Options{
		Inventory: []inventory.Machine{
			{Name: "a", Role: "worker", MAC: "52:54:00:00:00:01", Address: netip.MustParsePrefix(addrA + "/8"), Disk: api.DiskSelection{Serial: "s1"}},
			{Name: "b", Role: "controlPlane", MAC: "52:54:00:00:00:02", Address: netip.MustParsePrefix("127.0.0.9/8")},
		},
		InventoryName: "cluster.yaml",
		Images:        single(t, dir),
		HTTPURL:       "http://127.0.0.1:8080", TLSURL: "https://127.0.0.1:8443",
		CA: ca, Certificate: cert,
		Config: func(context.Context, provision.ConfigRequest) ([]byte, error) { return nil, errors.New("not set") },
		Stub:   func(url, token string) ([]byte, error) { return json.Marshal(stub{url, token}) },
		Now:    func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) },
		Rand:   randv2.NewChaCha8([32]byte{1}),
	}
}

func newFixture(t *testing.T, change func(*provision.Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, opts: options(t), audit: new(lockedBuffer)}
	f.clock = &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	f.opts.Now = f.clock.Now
	f.opts.Audit = audit.New(f.audit, f.clock.Now, audit.Tail{})
	// The handlers draw tokens at the same time; a ChaCha8 is not safe for
	// that, crypto/rand is.
	f.opts.Rand = rand.Reader
	f.opts.Config = f.render
	if change != nil {
		change(&f.opts)
	}
	var err error
	f.srv, err = provision.New(context.Background(), f.opts)
	if err != nil {
		t.Fatal(err)
	}
	f.boot = httptest.NewServer(f.srv.BootHandler())
	f.api = httptest.NewServer(f.srv.MachineHandler())
	t.Cleanup(func() {
		f.boot.Close()
		f.api.Close()
		if _, err := audit.Verify(strings.NewReader(f.audit.String())); err != nil {
			t.Errorf("the audit of the test: %v", err)
		}
	})
	return f
}

func (f *fixture) render(_ context.Context, r provision.ConfigRequest) ([]byte, error) {
	node, token := r.Node, r.ReportToken
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rendered++
	if f.config != nil {
		return f.config(node, token)
	}
	return fmt.Appendf(nil, `{"ignition":{"version":"3.4.0"},"node":%q,"token":%q,"serial":%d}`, node, token, f.rendered), nil
}

func (f *fixture) renderAs(config func(node, token string) ([]byte, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.config = config
}

// answer is what a test needs of a response.
type answer struct {
	status int
	header http.Header
	body   string
	cut    error // of a body that did not arrive whole
}

// from makes a request out of a loopback address.
func (f *fixture) from(addr, method, url, token, body string, headers ...string) answer {
	f.t.Helper()
	got := f.fromMaybeCut(addr, method, url, token, body, headers...)
	if got.cut != nil {
		f.t.Fatal(got.cut)
	}
	return got
}

// fromMaybeCut is from for an answer whose body may end too early.
func (f *fixture) fromMaybeCut(addr, method, url, token, body string, headers ...string) answer {
	f.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	client := http.Client{
		Transport:     &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(b), err}
}

// image is the current image.
func (f *fixture) image() library.Image {
	f.t.Helper()
	image, err := f.opts.Images.Current()
	if err != nil {
		f.t.Fatal(err)
	}
	return image
}

func (f *fixture) arm() {
	f.t.Helper()
	if _, err := f.srv.Arm(context.Background(), "a", admin.ArmOptions{For: time.Hour}); err != nil {
		f.t.Fatal(err)
	}
}

// seed fetches and opens the seed of node a.
func (f *fixture) seed() api.Seed {
	f.t.Helper()
	got := f.from(addrA, "GET", f.boot.URL+seedURL, "", "")
	if got.status != http.StatusOK {
		f.t.Fatalf("seed: %d %s", got.status, got.body)
	}
	return openSeed(f.t, got.body)
}

// openSeed finds the JSON in an archive that holds one small document.
func openSeed(t *testing.T, archive string) api.Seed {
	t.Helper()
	i, j := strings.Index(archive, "{"), strings.LastIndex(archive, "}")
	if i < 0 || j < i {
		t.Fatalf("no document in %q", archive)
	}
	var s api.Seed
	if err := json.Unmarshal([]byte(archive[i:j+1]), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// plan exchanges an install token for the stub.
func (f *fixture) plan(token string) (api.InstallPlan, stub) {
	f.t.Helper()
	got := f.from(addrA, "GET", f.api.URL+api.PathInstall, token, "")
	if got.status != http.StatusOK {
		f.t.Fatalf("plan: %d %s", got.status, got.body)
	}
	var p api.InstallPlan
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		f.t.Fatal(err)
	}
	var s stub
	if err := json.Unmarshal(p.Stub, &s); err != nil {
		f.t.Fatal(err)
	}
	return p, s
}

// configToken goes the way up to the config.
func (f *fixture) configToken() string {
	f.t.Helper()
	f.arm()
	_, s := f.plan(f.seed().Token)
	return s.Token
}

func (f *fixture) fetchConfig(addr, token string, headers ...string) answer {
	f.t.Helper()
	return f.from(addr, "GET", f.api.URL+api.PathConfig, token, "", headers...)
}

func (f *fixture) report(addr, token, body string) answer {
	f.t.Helper()
	return f.from(addr, "POST", f.api.URL+api.PathReport, token, body)
}

func (f *fixture) node() admin.Node {
	f.t.Helper()
	nodes, err := f.srv.Nodes(context.Background())
	if err != nil {
		f.t.Fatal(err)
	}
	return nodes[0]
}

// wantRefused checks that the last refusal shows in the node and the audit.
func (f *fixture) wantRefused(from, action, reason string) {
	f.t.Helper()
	n := f.node()
	if n.Refused == 0 || n.LastRefusal == nil || n.LastRefusal.Reason != reason || n.LastRefusal.Address != from {
		f.t.Errorf("refused %d, last %+v; want %q from %s", n.Refused, n.LastRefusal, reason, from)
	}
	f.wantAudit(fmt.Sprintf(`"node":"a","address":%q,"action":%q,"result":"refused","detail":%q`, from, action, reason))
}

func (f *fixture) wantAudit(part string) {
	f.t.Helper()
	if log := f.audit.String(); !strings.Contains(log, part) {
		f.t.Errorf("the audit does not hold %s:\n%s", part, log)
	}
}

// breakable is a disk that fills up.
type breakable struct {
	mu     sync.Mutex
	broken bool
}

func (b *breakable) fail() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken = true
}

func (b *breakable) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken {
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

// run serves until ctx is done.
func run(ctx context.Context, opts provision.Options) error {
	s, err := provision.New(ctx, opts)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}
