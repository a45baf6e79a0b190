package access_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision/access"
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

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// trail is an audit that can be broken.
type trail struct {
	mu     sync.Mutex
	events []string
	broken bool
}

func (a *trail) record(_ context.Context, e access.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.broken {
		return errors.New("the disk is full")
	}
	a.events = append(a.events, strings.TrimSpace(fmt.Sprintf("%s %s %s: %s: %s", e.Address, e.Action, e.Result, e.Identity, e.Detail)))
	return nil
}

func (a *trail) breakIt() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.broken = true
}

// take returns what was recorded since the last time.
func (a *trail) take() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := strings.Join(a.events, "\n")
	a.events = nil
	return text
}

// authority signs certificates for clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, now time.Time) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "operators"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(1000 * time.Hour),
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
	return &authority{cert, key}
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// sign returns a certificate for clients that change has had a look at.
func (a *authority) sign(t *testing.T, name string, organizations []string, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name, Organization: organizations},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// fixture is a guard before a handler that says who asks.
type fixture struct {
	t      *testing.T
	clock  *clock
	trail  *trail
	ca     *authority
	server *httptest.Server
	file   string
	log    *lockedBuffer

	// Tokens of the file.
	viewer, operator string
}

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

func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: &clock{now: time.Now()}, trail: new(trail), log: new(lockedBuffer)}
	f.ca = newAuthority(t, f.clock.Now())
	var viewerLine, operatorLine string
	f.viewer, viewerLine = newToken(t, "vera", access.Viewer)
	f.operator, operatorLine = newToken(t, "otto", access.Operator)
	f.file = filepath.Join(t.TempDir(), "tokens")
	f.write(viewerLine + operatorLine)
	tokens, err := access.OpenTokens(f.file)
	if err != nil {
		t.Fatal(err)
	}
	guard, err := access.New(access.Options{
		ClientCAs: f.ca.pool(), Tokens: tokens.Tokens, Audit: f.trail.record, Public: []string{"/assets/"},
		Page: func(w http.ResponseWriter, _ *http.Request, p access.Page) {
			w.WriteHeader(p.Status)
			fmt.Fprintf(w, "page login=%t next=%s %s", p.Login, p.Next, p.Message)
		},
		Now: f.clock.Now, Rand: rand.Reader, Logger: slog.New(slog.NewTextHandler(f.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.server = httptest.NewUnstartedServer(guard.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/missing":
			w.WriteHeader(http.StatusNotFound)
		case "/broken":
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/panic":
			panic(http.ErrAbortHandler)
		case "/deadline":
			if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil {
				w.WriteHeader(http.StatusInternalServerError)
			}
		}
		i, _ := access.FromContext(r.Context())
		fmt.Fprint(w, i)
	})))
	f.server.TLS = new(tls.Config)
	guard.AskForCertificate(f.server.TLS)
	f.server.StartTLS()
	t.Cleanup(f.server.Close)
	return f
}

func newToken(t *testing.T, name string, role access.Role) (token, line string) {
	t.Helper()
	token, line, err := access.NewToken(rand.Reader, name, role)
	if err != nil {
		t.Fatal(err)
	}
	return token, line
}

// write replaces the file of tokens, as an editor does.
func (f *fixture) write(content string) {
	f.t.Helper()
	if err := os.WriteFile(f.file+".new", []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(f.file+".new", f.file); err != nil {
		f.t.Fatal(err)
	}
}

// ask is one request. Zero values are those of a program without anything.
type ask struct {
	method, path string
	token        string
	cert         *tls.Certificate
	cookie       *http.Cookie
	form         url.Values
	header       map[string]string
	browser      bool
}

type reply struct {
	status int
	body   string
	header http.Header
	cookie *http.Cookie
}

func (f *fixture) do(a ask) reply {
	f.t.Helper()
	if a.method == "" {
		a.method = http.MethodGet
	}
	var body io.Reader
	if a.form != nil {
		body = strings.NewReader(a.form.Encode())
	}
	req, err := http.NewRequest(a.method, f.server.URL+a.path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	if a.form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	if a.cookie != nil {
		req.AddCookie(a.cookie)
	}
	if a.browser {
		req.Header.Set("Accept", "text/html,application/xhtml+xml")
	}
	for key, value := range a.header {
		req.Header.Set(key, value)
	}
	roots := x509.NewCertPool()
	roots.AddCert(f.server.Certificate())
	config := &tls.Config{RootCAs: roots}
	if a.cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return a.cert, nil }
	}
	client := http.Client{
		Timeout:       10 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: config, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return reply{body: err.Error()}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	r := reply{status: resp.StatusCode, body: strings.TrimSpace(string(b)), header: resp.Header}
	for _, c := range resp.Cookies() {
		r.cookie = c
	}
	return r
}

// login signs in with a token and returns the session's cookie.
func (f *fixture) login(token string) *http.Cookie {
	f.t.Helper()
	r := f.do(ask{method: "POST", path: "/login", form: url.Values{"token": {token}}, browser: true})
	if r.status != http.StatusSeeOther || r.cookie == nil || r.cookie.Value == "" {
		f.t.Fatalf("login: %d %s", r.status, r.body)
	}
	return r.cookie
}

func sum(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
