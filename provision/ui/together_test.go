package ui_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/provision/access"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/metrics"
	"github.com/k8snode/k8snode/provision/ui"
)

// TestTogether is the operator's side as a whole: the API, the pages and the
// metrics behind one guard.
func TestTogether(t *testing.T) {
	s := newSite(t)
	counted, err := metrics.New(metrics.Options{Source: s.backend, Now: s.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	viewer, viewerLine, err := access.NewToken(rand.Reader, "prometheus", access.Viewer)
	if err != nil {
		t.Fatal(err)
	}
	operator, operatorLine, err := access.NewToken(rand.Reader, "otto", access.Operator)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := access.ParseTokens("tokens", []byte(viewerLine+operatorLine))
	if err != nil {
		t.Fatal(err)
	}
	guard, err := access.New(access.Options{
		Tokens: func() (access.Tokens, error) { return tokens, nil },
		Page:   s.ui.Page, Public: []string{ui.AssetsPrefix}, Now: s.clock.Now, Rand: rand.Reader,
		Audit: func(_ context.Context, e access.Event) error {
			event := audit.Event{Address: e.Address, Action: e.Action, Result: e.Result, Detail: strings.TrimSuffix(e.Identity.String()+": "+e.Detail, ": ")}
			if err := s.audit.Record(event); err != nil {
				return err
			}
			counted.Audited(event)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/", http.StripPrefix("/api/v1", admin.NewHandler(s.backend, nil)))
	mux.Handle("GET /metrics", counted.Handler())
	mux.Handle("/", s.ui.Handler())
	server := httptest.NewUnstartedServer(counted.Operator(guard.Middleware(mux)))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	guard.AskForCertificate(server.TLS)
	server.StartTLS()
	defer server.Close()

	for _, tt := range []struct {
		method, path, token, body string
		status                    int
		want                      string
	}{
		{"GET", "/api/v1/nodes", "", "", 401, `"error":"sign in to go on"`},
		{"GET", "/metrics", "", "", 401, `"status":401`},
		{"GET", "/", "", "", 401, `"title":"Unauthorized"`},
		{"GET", "/api/v1/nodes", viewer, "", 200, `"name":"cp1"`},
		{"GET", "/api/v1/strangers", viewer, "", 200, `"serial":"7B5RW72"`},
		{"GET", "/metrics", viewer, "", 200, `k8snode_nodes{phase="ready"} 62`},
		{"GET", "/", viewer, "", 200, "<h1>Fleet</h1>"},
		{"POST", "/api/v1/nodes/spare1/arm", viewer, `{"for":"45m"}`, 403, "may only look"},
		{"POST", "/nodes/spare1/disarm", viewer, "", 403, "may only look"},
		{"POST", "/api/v1/nodes/spare1/arm", operator, `{"for":"45m"}`, 200, `"phase":"armed"`},
		{"POST", "/api/v1/nodes/none/arm", operator, `{"for":"45m"}`, 404, `"code":"unknown-node"`},
		{"GET", "/audit", viewer, "", 200, "otto (operator, by token): POST /api/v1/nodes/spare1/arm"},
		{"GET", "/metrics", viewer, "", 200, `k8snode_requests_refused_total{action="change"} 3`},
		{"GET", "/metrics", viewer, "", 200, `k8snode_http_request_duration_seconds_count{code="4xx",handler="api",side="operator"} 3`},
	} {
		req, err := http.NewRequest(tt.method, server.URL+tt.path, strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		if tt.token != "" {
			req.Header.Set("Authorization", "Bearer "+tt.token)
		}
		resp, err := server.Client().Do(req)
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
}
