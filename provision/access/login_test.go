package access_test

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision/access"
)

func TestSession(t *testing.T) {
	f := start(t)
	r := f.do(ask{method: "POST", path: "/login", form: url.Values{"token": {" " + f.operator + "\n"}, "next": {"/nodes/a?x=y"}}, browser: true})
	if r.status != 303 || r.header.Get("Location") != "/nodes/a?x=y" {
		t.Fatalf("login: %d to %q: %s", r.status, r.header.Get("Location"), r.body)
	}
	c := r.cookie
	raw := r.header.Get("Set-Cookie")
	if c == nil || c.Name != "__Host-k8snode" || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode ||
		c.Path != "/" || c.Domain != "" || c.MaxAge != 12*3600 || len(c.Value) != 43 {
		t.Errorf("cookie %q", raw)
	}
	if got, want := f.trail.take(), "127.0.0.1 login granted: otto (operator, by token):"; got != want {
		t.Errorf("audit %q, want %q", got, want)
	}
	if r := f.do(ask{method: "POST", path: "/", cookie: c}); r.status != 200 || r.body != "otto (operator, by session)" {
		t.Errorf("change by session: %d %s", r.status, r.body)
	}
	if r := f.do(ask{method: "POST", path: "/", cookie: c, header: map[string]string{"Sec-Fetch-Site": "same-site"}}); r.status != 403 {
		t.Errorf("change from a neighbour: %d %s", r.status, r.body)
	}
	if r := f.do(ask{path: "/login?next=/audit", cookie: c, browser: true}); r.status != 303 || r.header.Get("Location") != "/audit" {
		t.Errorf("login page for somebody signed in: %d to %q", r.status, r.header.Get("Location"))
	}
	second := f.login(f.viewer)
	f.trail.take()
	if r := f.do(ask{path: "/logout", cookie: c}); r.status != 405 || r.header.Get("Allow") != "POST" {
		t.Errorf("a link signs out: %d", r.status)
	}
	if r := f.do(ask{method: "POST", path: "/logout", cookie: c}); r.status != 303 || r.cookie == nil || r.cookie.MaxAge >= 0 {
		t.Errorf("logout: %d %v", r.status, r.cookie)
	}
	if got, want := f.trail.take(), "127.0.0.1 logout granted: otto (operator, by session):"; got != want {
		t.Errorf("audit %q, want %q", got, want)
	}
	if r := f.do(ask{path: "/", cookie: c}); r.status != 401 {
		t.Errorf("after the logout: %d %s", r.status, r.body)
	}
	if r := f.do(ask{path: "/", cookie: second}); r.status != 200 || r.body != "vera (viewer, by session)" {
		t.Errorf("another session: %d %s", r.status, r.body)
	}
	if strings.Contains(f.log.String(), c.Value) || strings.Contains(f.log.String(), f.operator) {
		t.Errorf("the log has a secret:\n%s", f.log)
	}
}

func TestSessionsEnd(t *testing.T) {
	f := start(t)
	live := map[string]string{"Sec-Fetch-Dest": "empty"}
	look := func(c *http.Cookie, header map[string]string) int {
		return f.do(ask{path: "/", cookie: c, header: header}).status
	}
	idle := f.login(f.viewer)
	for range 2 {
		f.clock.turn(29 * time.Minute)
		if got := look(idle, live); got != 200 {
			t.Fatalf("a page that goes on by itself: %d", got)
		}
	}
	f.clock.turn(2 * time.Minute)
	if got := look(idle, live); got != 401 {
		t.Errorf("an hour without a person: %d", got)
	}
	busy := f.login(f.viewer)
	for range 13 {
		f.clock.turn(55 * time.Minute)
		if got := look(busy, nil); got != 200 {
			t.Fatalf("a person who is there: %d", got)
		}
	}
	f.clock.turn(5 * time.Minute)
	if got := look(busy, nil); got != 401 {
		t.Errorf("after 12 hours: %d", got)
	}
	// A new login ends the session that the browser had, even one that fails.
	first := f.login(f.viewer)
	f.do(ask{method: "POST", path: "/login", cookie: first, form: url.Values{"token": {"wrong"}}, browser: true})
	if got := look(first, nil); got != 401 {
		t.Errorf("the session before a login: %d", got)
	}
}

func TestTokensThatLeave(t *testing.T) {
	f := start(t)
	c := f.login(f.operator)
	_, viewerLine := newToken(t, "vera", access.Viewer)
	// The same person, with less to do.
	f.write(viewerLine + "otto viewer " + sum(f.operator) + "\n")
	if r := f.do(ask{method: "POST", path: "/", cookie: c}); r.status != 403 {
		t.Errorf("a role that was taken: %d %s", r.status, r.body)
	}
	f.write(viewerLine)
	if r := f.do(ask{path: "/", cookie: c}); r.status != 401 {
		t.Errorf("the session of a token that left: %d %s", r.status, r.body)
	}
	f.write("otto\n")
	r := f.do(ask{path: "/", token: f.operator})
	if r.status != 503 || strings.Contains(r.body, "otto") {
		t.Errorf("a file with an error: %d %s", r.status, r.body)
	}
	if cert := f.ca.sign(t, "alice", []string{"k8snode:viewer"}, nil); f.do(ask{path: "/", cert: cert}).status != 200 {
		t.Error("a file with an error takes certificates along")
	}
	f.write("otto operator " + sum(f.operator) + "\n")
	if r := f.do(ask{path: "/", token: f.operator}); r.status != 200 {
		t.Errorf("the file is good again: %d %s", r.status, r.body)
	}
	if err := os.Chmod(f.file, 0o640); err != nil {
		t.Fatal(err)
	}
	if r := f.do(ask{path: "/", token: f.operator}); r.status != 503 {
		t.Errorf("a file that others can read: %d %s", r.status, r.body)
	}
}

func TestLoginPage(t *testing.T) {
	f := start(t)
	for _, tt := range []struct{ path, want string }{
		{"/login", "page login=true next=/"},
		{"/login?next=/nodes/a%3Fx=y", "page login=true next=/nodes/a?x=y"},
		{"/login?next=https://example.com/", "page login=true next=/"},
		{"/login?next=//example.com/", "page login=true next=/"},
		{"/login?next=/%5Cexample.com/", "page login=true next=/"},
		{"/login?next=/%09/example.com/", "page login=true next=/"},
		{"/login?next=javascript:alert(1)", "page login=true next=/"},
		{"/login?next=/logout", "page login=true next=/"},
	} {
		if r := f.do(ask{path: tt.path, browser: true}); r.status != 200 || r.body != tt.want || r.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %q, want %q", tt.path, r.status, r.body, tt.want)
		}
	}
	r := f.do(ask{method: "POST", path: "/login", browser: true, form: url.Values{"token": {"no"}, "next": {"//example.com"}}})
	if r.status != 401 || r.body != "page login=true next=/ The token is not valid." {
		t.Errorf("%d %q", r.status, r.body)
	}
	if r := f.do(ask{method: "POST", path: "/login", form: url.Values{"token": {strings.Repeat("a", 10000)}}}); r.status != 400 {
		t.Errorf("a form without an end: %d %s", r.status, r.body)
	}
	if r := f.do(ask{method: "PUT", path: "/login"}); r.status != 405 {
		t.Errorf("PUT: %d %s", r.status, r.body)
	}
	if r := f.do(ask{method: "POST", path: "/login", form: url.Values{"token": {f.operator}}, header: map[string]string{"Sec-Fetch-Site": "cross-site"}}); r.status != 403 || r.cookie != nil {
		t.Errorf("another site signs a browser in: %d", r.status)
	}
}

// A link on another site leads to a page whose cookie the browser keeps back.
func TestLinksFromElsewhere(t *testing.T) {
	f := start(t)
	navigate := map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
	for path, want := range map[string]string{
		"/nodes/a?x=%22%3E":    "0; url=/nodes/a?x=%22%3E",
		"//example.com/%2e%2e": "0; url=/",
	} {
		r := f.do(ask{path: path, browser: true, header: navigate})
		if r.status != 200 || r.header.Get("Refresh") != want {
			t.Errorf("%s: %d, Refresh %q, want %q", path, r.status, r.header.Get("Refresh"), want)
		}
	}
	for name, a := range map[string]ask{
		"the second time": {path: "/", browser: true, header: map[string]string{"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}},
		"a script":        {path: "/", header: map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}},
		"a cookie":        {path: "/", browser: true, header: navigate, cookie: &http.Cookie{Name: "__Host-k8snode", Value: "x"}},
	} {
		if r := f.do(a); r.status != 401 || r.header.Get("Refresh") != "" {
			t.Errorf("%s: %d, Refresh %q", name, r.status, r.header.Get("Refresh"))
		}
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("no more") }

func TestNewToken(t *testing.T) {
	token, line := newToken(t, "alice", access.Operator)
	if want := "alice operator " + sum(token) + "\n"; line != want || !strings.HasPrefix(token, "k8snode_") || len(token) != 51 {
		t.Errorf("token of %d, line %q, want %q", len(token), line, want)
	}
	if other, _ := newToken(t, "alice", access.Operator); other == token {
		t.Error("two tokens are one")
	}
	for name, tt := range map[string]struct {
		name string
		role access.Role
		want string
	}{
		"a name of two":     {"a b", access.Viewer, `making a token: "a b" is not a name: use letters, digits and . _ @ -, at most 64`},
		"no such role":      {"a", "admin", `making a token: there is no role "admin": use viewer or operator`},
		"no randomness":     {"a", access.Viewer, "making a token: reading randomness: no more"},
		"a name with lines": {"a\nb operator", access.Viewer, `making a token: "a\nb operator" is not a name: use letters, digits and . _ @ -, at most 64`},
	} {
		if _, _, err := access.NewToken(brokenReader{}, tt.name, tt.role); err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}
