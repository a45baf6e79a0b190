package site_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision/access"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/site"
	"github.com/k8snode/k8snode/provision/store"
	"github.com/k8snode/k8snode/provision/ui"
)

func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// backend is one node in memory.
type backend struct {
	mu   sync.Mutex
	node admin.Node
}

func (b *backend) change(name string, change func(*admin.Node)) (admin.Node, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if name != b.node.Name {
		return admin.Node{}, fmt.Errorf("changing node %q: %w", name, store.ErrUnknownNode)
	}
	change(&b.node)
	return b.node, nil
}

func (b *backend) Nodes(context.Context) ([]admin.Node, error) {
	n, err := b.change(b.node.Name, func(*admin.Node) {})
	return []admin.Node{n}, err
}

func (b *backend) Strangers(context.Context) ([]admin.Stranger, error) {
	return []admin.Stranger{{Serial: "7B5RW72"}}, nil
}

func (b *backend) Arm(_ context.Context, name string, opts admin.ArmOptions) (admin.Node, error) {
	return b.change(name, func(n *admin.Node) { n.Phase, n.Open, n.WindowEnd = api.PhaseArmed, true, noon().Add(opts.For) })
}

func (b *backend) Disarm(_ context.Context, name string) (admin.Node, error) {
	return b.change(name, func(n *admin.Node) { n.Open = false })
}

func (b *backend) Hold(_ context.Context, name, why string) (admin.Node, error) {
	return b.change(name, func(n *admin.Node) { n.Held, n.HeldFor = true, why })
}

func (*backend) Seed(_ context.Context, name string) (admin.InstallSeed, error) {
	return admin.InstallSeed{}, fmt.Errorf("making a seed of node %q: %w", name, store.ErrUnknownNode)
}

func (b *backend) Release(_ context.Context, name string) (admin.Node, error) {
	return b.change(name, func(n *admin.Node) { n.Held = false })
}

// world is a site that listens, and what its operators need.
type world struct {
	*httptest.Server
	viewer, operator string
	log              bytes.Buffer
	// full makes the audit fail.
	full bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := new(world)
	var lines string
	for token, who := range map[*string]struct {
		name string
		role access.Role
	}{&w.viewer: {"prometheus", access.Viewer}, &w.operator: {"otto", access.Operator}} {
		text, line, err := access.NewToken(rand.Reader, who.name, who.role)
		if err != nil {
			t.Fatal(err)
		}
		*token, lines = text, lines+line
	}
	tokens, err := access.ParseTokens("tokens", []byte(lines))
	if err != nil {
		t.Fatal(err)
	}
	log := audit.New(&w.log, noon, audit.Tail{})
	var counted interface{ Audited(audit.Event) }
	s, err := site.New(site.Options{
		Backend: &backend{node: admin.Node{Name: "w1", Role: "worker", Phase: api.PhaseReady}},
		Record: func(e audit.Event) error {
			if w.full {
				return errors.New("no space left on device")
			}
			if err := log.Record(e); err != nil {
				return err
			}
			counted.Audited(e)
			return nil
		},
		Access: access.Options{Tokens: func() (access.Tokens, error) { return tokens, nil }},
		Trail:  ui.NewTrail(t.TempDir()+"/none.jsonl", noon), Cluster: "berlin", Now: noon, Rand: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	counted = s.Metrics()
	w.Server = httptest.NewUnstartedServer(s.Handler())
	// The certificate is that of package httptest: its own is a test of package cli.
	w.TLS = s.TLS()
	w.TLS.Certificates, w.TLS.Time = nil, time.Now
	w.StartTLS()
	t.Cleanup(w.Close)
	return w
}

func (w *world) client(t *testing.T, token string) *admin.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(w.Certificate())
	c, err := admin.NewRemoteClient(admin.Remote{URL: w.URL, TLS: &tls.Config{RootCAs: roots}, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSite is what each side of the site answers to whom.
func TestSite(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		method, path, token, body string
		status                    int
		want                      string
	}{
		{"GET", "/healthz", "", "", 200, "ok"},
		{"GET", "/api/v1/nodes", "", "", 401, `"error":"sign in to go on"`},
		{"GET", "/metrics", "", "", 401, `"status":401`},
		{"GET", "/", "", "", 401, `"title":"Unauthorized"`},
		{"POST", "/healthz", "", "", 401, ""},
		{"GET", "/healthz/../metrics", "", "", 401, ""},
		{"GET", "/api/v1/nodes", w.viewer, "", 200, `"name":"w1"`},
		{"GET", "/api/v1/strangers", w.viewer, "", 200, `"serial":"7B5RW72"`},
		{"GET", "/metrics", w.viewer, "", 200, `k8snode_nodes{phase="ready"} 1`},
		{"GET", "/", w.viewer, "", 200, "<h1>Fleet</h1>"},
		{"POST", "/api/v1/nodes/w1/arm", w.viewer, `{"for":"45m"}`, 403, "may only look"},
		{"POST", "/nodes/w1/disarm", w.viewer, "", 403, "may only look"},
		{"POST", "/api/v1/nodes/w1/arm", w.operator, `{"for":"45m"}`, 200, `"phase":"armed"`},
		{"POST", "/api/v1/nodes/w1/hold", w.operator, `{"why":"its disk is old"}`, 200, `"heldFor":"its disk is old"`},
		{"POST", "/api/v1/nodes/none/arm", w.operator, `{"for":"45m"}`, 404, `"code":"unknown-node"`},
		{"GET", "/api/v1/images", w.operator, "", 404, ""},
		{"GET", "/metrics", w.viewer, "", 200, `k8snode_requests_refused_total{action="change"} 3`},
		{"GET", "/metrics", w.viewer, "", 200, `k8snode_http_request_duration_seconds_count{code="4xx",handler="api",side="operator"} 4`},
	} {
		req, err := http.NewRequest(tt.method, w.URL+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		if tt.token != "" {
			req.Header.Set("Authorization", "Bearer "+tt.token)
		}
		resp, err := w.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != tt.status || !strings.Contains(string(b), tt.want) {
			t.Errorf("%s %s: %d, want %d and %s:\n%.2000s", tt.method, tt.path, resp.StatusCode, tt.status, tt.want, b)
		}
	}
	if log := w.log.String(); !strings.Contains(log, "otto (operator, by token): POST /api/v1/nodes/w1/arm") || strings.Contains(log, w.operator) {
		t.Errorf("audit:\n%s", log)
	}
}

// TestRemoteClient is the same API as behind a socket, with the same errors.
func TestRemoteClient(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	operator := w.client(t, w.operator)
	if n, err := operator.Arm(ctx, "w1", admin.ArmOptions{For: time.Hour}); err != nil || !n.Open {
		t.Errorf("arming: %+v, %v", n, err)
	}
	if _, err := operator.Release(ctx, "none"); !errors.Is(err, store.ErrUnknownNode) {
		t.Errorf("releasing an unknown node: %v", err)
	}
	if _, err := w.client(t, w.viewer).Disarm(ctx, "w1"); err == nil || err.Error() != "your role, viewer, may only look" {
		t.Errorf("a viewer disarms: %v", err)
	}
	if _, err := w.client(t, "k8snode_none").Nodes(ctx); err == nil || err.Error() != "the token is not valid" {
		t.Errorf("a wrong token: %v", err)
	}
	w.full = true
	if _, err := operator.Disarm(ctx, "w1"); err == nil || err.Error() != "the change cannot be recorded, so it is not made" {
		t.Errorf("a change that cannot be recorded: %v", err)
	}
	if nodes, err := operator.Nodes(ctx); err != nil || !nodes[0].Open {
		t.Errorf("after it: %+v, %v", nodes, err)
	}
	for _, url := range []string{"http://localhost:8443", "localhost:8443", "https://", "https://a:b@localhost", "https://localhost/nodes", "https://localhost?x"} {
		if _, err := admin.NewRemoteClient(admin.Remote{URL: url}); err == nil || !strings.HasSuffix(err.Error(), "it is not of the form https://HOST:PORT") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestErrorsAreJSON keeps what tools read readable, whoever answers.
func TestErrorsAreJSON(t *testing.T) {
	w := newWorld(t)
	resp, err := w.Client().Get(w.URL + admin.Prefix + "/nodes")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var body struct{ Error string }
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || body.Error == "" {
		t.Errorf("%+v, %v", body, err)
	}
}
