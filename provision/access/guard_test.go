package access_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/provision/access"
)

func TestWhoMayDoWhat(t *testing.T) {
	f := start(t)
	viewer := f.ca.sign(t, "alice", []string{"k8snode:viewer"}, nil)
	operator := f.ca.sign(t, "bob", []string{"example", "k8snode:operator"}, nil)
	both := f.ca.sign(t, "carol", []string{"k8snode:viewer", "k8snode:operator"}, nil)
	none := f.ca.sign(t, "dave", []string{"system:masters"}, nil)
	unnamed := f.ca.sign(t, "e\nve", []string{"k8snode:operator"}, nil)
	server := f.ca.sign(t, "frank", []string{"k8snode:operator"}, func(c *x509.Certificate) {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	})
	ended := f.ca.sign(t, "grace", []string{"k8snode:operator"}, func(c *x509.Certificate) {
		c.NotAfter = f.clock.Now().Add(-time.Minute)
	})
	foreign := newAuthority(t, f.clock.Now()).sign(t, "mallory", []string{"k8snode:operator"}, nil)
	stranger, _ := newToken(t, "mallory", access.Operator)

	for _, tt := range []struct {
		name   string
		ask    ask
		status int
		body   string // of a problem its detail
		audit  string
	}{
		{"nobody", ask{}, 401, "sign in to go on", ""},
		{"nobody changes", ask{method: "POST"}, 401, "sign in to go on", ""},
		{"a viewer's token looks", ask{token: f.viewer}, 200, "vera (viewer, by token)", ""},
		{"a viewer's token changes", ask{method: "POST", path: "/nodes/a/arm?x=secret", token: f.viewer}, 403, "your role, viewer, may only look",
			"127.0.0.1 change refused: vera (viewer, by token): a viewer changes nothing: POST /nodes/a/arm"},
		{"an operator's token looks", ask{token: f.operator}, 200, "otto (operator, by token)", ""},
		{"an operator's token changes", ask{method: "POST", path: "/x", token: f.operator}, 200, "otto (operator, by token)",
			"127.0.0.1 change asked: otto (operator, by token): POST /x\n127.0.0.1 change granted: otto (operator, by token): POST /x"},
		{"a change that is refused", ask{method: "DELETE", path: "/missing", token: f.operator}, 404, "otto (operator, by token)",
			"127.0.0.1 change asked: otto (operator, by token): DELETE /missing\n127.0.0.1 change refused: otto (operator, by token): DELETE /missing"},
		{"a change that fails", ask{method: "PATCH", path: "/broken", token: f.operator}, 503, "otto (operator, by token)",
			"127.0.0.1 change asked: otto (operator, by token): PATCH /broken\n127.0.0.1 change failed: otto (operator, by token): PATCH /broken"},
		{"a change that ends in the middle", ask{method: "PUT", path: "/panic", token: f.operator}, 0, "",
			"127.0.0.1 change asked: otto (operator, by token): PUT /panic\n127.0.0.1 change failed: otto (operator, by token): PUT /panic"},
		{"an upload has its own deadline", ask{method: "PATCH", path: "/deadline", token: f.operator}, 200, "otto (operator, by token)",
			"127.0.0.1 change asked: otto (operator, by token): PATCH /deadline\n127.0.0.1 change granted: otto (operator, by token): PATCH /deadline"},
		{"another token", ask{token: stranger}, 401, "the token is not valid", "127.0.0.1 login refused: nobody: the token is not one of the file"},
		{"a digest is no token", ask{token: sum(f.operator)}, 401, "the token is not valid", "127.0.0.1 login refused: nobody: the token is not one of the file"},
		{"a password", ask{header: map[string]string{"Authorization": "Basic " + f.operator}}, 401, "the token is not valid", "127.0.0.1 login refused: nobody: the token is not one of the file"},
		{"a token in the URL", ask{path: "/?token=" + f.operator}, 401, "sign in to go on", ""},
		{"a viewer's certificate", ask{cert: viewer}, 200, "alice (viewer, by certificate)", ""},
		{"a viewer's certificate changes", ask{method: "POST", cert: viewer}, 403, "your role, viewer, may only look",
			"127.0.0.1 change refused: alice (viewer, by certificate): a viewer changes nothing: POST /"},
		{"an operator's certificate", ask{cert: operator}, 200, "bob (operator, by certificate)", ""},
		{"the higher role counts", ask{cert: both}, 200, "carol (operator, by certificate)", ""},
		{"a certificate without a role", ask{cert: none}, 401, "the certificate gives no role: its O is neither k8snode:viewer nor k8snode:operator",
			"127.0.0.1 login refused: nobody: the certificate gives no role: its O is neither k8snode:viewer nor k8snode:operator"},
		{"a certificate without a name", ask{cert: unnamed}, 401, "the certificate has no name that can be one: its CN is letters, digits and . _ @ -, at most 64",
			"127.0.0.1 login refused: nobody: the certificate has no name that can be one: its CN is letters, digits and . _ @ -, at most 64"},
		{"a server's certificate", ask{cert: server}, 401, "the certificate is not one of the operators' authority for clients",
			"127.0.0.1 login refused: nobody: the certificate is not one of the operators' authority for clients"},
		{"a certificate that has ended", ask{cert: ended}, 401, "the certificate has ended, or has not begun",
			"127.0.0.1 login refused: nobody: the certificate has ended, or has not begun"},
		{"another authority", ask{cert: foreign}, 401, "the certificate is not one of the operators' authority for clients",
			"127.0.0.1 login refused: nobody: the certificate is not one of the operators' authority for clients"},
		{"a bad token does not become a certificate", ask{cert: operator, token: stranger}, 401, "the token is not valid",
			"127.0.0.1 login refused: nobody: the token is not one of the file"},
		{"a public file", ask{path: "/assets/a.css"}, 200, "nobody", ""},
		{"a change of a public file", ask{method: "POST", path: "/assets/a.css"}, 401, "sign in to go on", ""},
		{"an unclean path", ask{path: "/assets/../nodes"}, 401, "sign in to go on", ""},
		{"another path", ask{path: "/assetsx"}, 401, "sign in to go on", ""},
		{"another site with a certificate", ask{method: "POST", cert: operator, header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, 403, "the request is from another site",
			"127.0.0.1 change refused: nobody: another site asked for it: POST /"},
		{"another site in an old browser", ask{method: "POST", cert: operator, header: map[string]string{"Origin": "https://example.com"}}, 403, "the request is from another site",
			"127.0.0.1 change refused: nobody: another site asked for it: POST /"},
		{"a person without anything", ask{path: "/nodes/a?phase=ready", browser: true}, 401, "page login=true next=/nodes/a?phase=ready", ""},
		{"a person who may not", ask{method: "POST", cert: viewer, browser: true}, 403, "page login=false next=/ Your role, viewer, may only look.",
			"127.0.0.1 change refused: alice (viewer, by certificate): a viewer changes nothing: POST /"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f.clock.turn(time.Minute)
			if tt.ask.path == "" {
				tt.ask.path = "/"
			}
			r := f.do(tt.ask)
			if r.status != tt.status {
				t.Errorf("status %d, want %d: %s", r.status, tt.status, r.body)
			}
			if got := detail(t, r); tt.status != 0 && got != tt.body {
				t.Errorf("answer %q, want %q", got, tt.body)
			}
			if diff := cmp.Diff(tt.audit, f.trail.take()); diff != "" {
				t.Errorf("audit (-want +got):\n%s", diff)
			}
			if (r.status == 401) != (r.header.Get("WWW-Authenticate") != "") {
				t.Errorf("status %d with WWW-Authenticate %q", r.status, r.header.Get("WWW-Authenticate"))
			}
		})
	}
	for _, secret := range []string{f.viewer, f.operator, sum(f.viewer), sum(f.operator), stranger, "x=secret"} {
		if strings.Contains(f.log.String(), secret) {
			t.Errorf("the log has a secret:\n%s", f.log)
		}
	}
}

// detail is the body of an answer; of a problem what is wrong.
func detail(t *testing.T, r reply) string {
	t.Helper()
	if r.header.Get("Content-Type") != "application/problem+json" {
		return r.body
	}
	var p struct {
		Type, Title, Detail, Error string
		Status                     int
	}
	if err := json.Unmarshal([]byte(r.body), &p); err != nil {
		t.Fatal(err)
	}
	if p.Type != "about:blank" || p.Title != http.StatusText(r.status) || p.Status != r.status || p.Error != p.Detail {
		t.Errorf("problem %+v", p)
	}
	return p.Detail
}

func TestNothingInClear(t *testing.T) {
	f := start(t)
	tokens, err := access.OpenTokens(f.file)
	if err != nil {
		t.Fatal(err)
	}
	guard, err := access.New(access.Options{Tokens: tokens.Tokens, Now: f.clock.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/login"} {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Authorization", "Bearer "+f.operator)
		w := httptest.NewRecorder()
		guard.Middleware(http.NotFoundHandler()).ServeHTTP(w, r)
		if w.Code != 403 || !strings.Contains(w.Body.String(), "through TLS only") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestUnrecordedChangesDoNotHappen(t *testing.T) {
	f := start(t)
	f.trail.breakIt()
	if r := f.do(ask{method: "POST", path: "/", token: f.operator}); r.status != 503 || detail(t, r) != "the change cannot be recorded, so it is not made" {
		t.Errorf("change: %d %s", r.status, r.body)
	}
	r := f.do(ask{method: "POST", path: "/login", form: url.Values{"token": {f.operator}}})
	if r.status != 503 || r.cookie != nil {
		t.Errorf("login: %d %s %v", r.status, r.body, r.cookie)
	}
	if r := f.do(ask{path: "/", token: f.operator}); r.status != 200 {
		t.Errorf("to look needs no record: %d %s", r.status, r.body)
	}
}

func TestFailuresAreLimited(t *testing.T) {
	f := start(t)
	operator := f.ca.sign(t, "bob", []string{"k8snode:operator"}, nil)
	session := f.login(f.viewer)
	f.trail.take()
	for n := range 10 {
		if r := f.do(ask{path: "/", token: "wrong"}); r.status != 401 {
			t.Fatalf("attempt %d: %d %s", n, r.status, r.body)
		}
	}
	r := f.do(ask{path: "/", token: f.operator})
	if r.status != 429 || r.header.Get("Retry-After") != "15" || detail(t, r) != "too many failed attempts from this address: try again in 15s" {
		t.Errorf("after the last: %d %s, Retry-After %s", r.status, r.body, r.header.Get("Retry-After"))
	}
	if r := f.do(ask{method: "POST", path: "/login", form: url.Values{"token": {f.operator}}, browser: true}); r.status != 429 {
		t.Errorf("login: %d %s", r.status, r.body)
	}
	if got := strings.Count(f.trail.take(), "refused"); got != 10 {
		t.Errorf("%d events, want 10: who is made to wait writes nothing", got)
	}
	// Nobody can guess these.
	if r := f.do(ask{path: "/", cert: operator}); r.status != 200 {
		t.Errorf("a certificate: %d %s", r.status, r.body)
	}
	if r := f.do(ask{path: "/", cookie: session}); r.status != 200 {
		t.Errorf("a session: %d %s", r.status, r.body)
	}
	f.clock.turn(15 * time.Second)
	for n := range 20 {
		if r := f.do(ask{path: "/", token: f.operator}); r.status != 200 {
			t.Fatalf("good attempt %d takes nothing: %d %s", n, r.status, r.body)
		}
	}
	if r := f.do(ask{path: "/", token: "wrong"}); r.status != 401 {
		t.Errorf("the one attempt that time gave: %d", r.status)
	}
	if r := f.do(ask{path: "/", token: f.operator}); r.status != 429 {
		t.Errorf("and no other: %d", r.status)
	}
}

func TestNewNeedsWhatItNeeds(t *testing.T) {
	now := func() time.Time { return time.Time{} }
	none := func() (access.Tokens, error) { return access.Tokens{}, nil }
	for _, tt := range []struct {
		name string
		opts access.Options
		want string
	}{
		{"no clock", access.Options{Rand: rand.Reader, Tokens: none}, "making the guard of the operator's side: it needs a clock and a source of randomness"},
		{"nobody", access.Options{Rand: rand.Reader, Now: now}, "making the guard of the operator's side: without an authority and without tokens it lets nobody in"},
	} {
		if _, err := access.New(tt.opts); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.want)
		}
	}
	guard, err := access.New(access.Options{Rand: rand.Reader, Now: now, Tokens: none})
	if err != nil {
		t.Fatal(err)
	}
	config := new(tls.Config)
	if guard.AskForCertificate(config); config.ClientAuth != tls.NoClientCert {
		t.Error("without an authority a browser is asked for a certificate")
	}
}
