package ui_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/k8snode/k8snode/provision/access"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/ui"
)

// everyPage is every page that there is, in every state that matters.
var everyPage = []string{
	"/", "/?page=2", "/?show=attention", "/?show=failed&sort=state", "/?q=nothing", "/?q=" + url.QueryEscape(hostile),
	"/nodes/cp1", "/nodes/w1", "/nodes/w4", "/nodes/w5", "/nodes/w6", "/nodes/w9", "/nodes/w1?done=arm",
	"/windows", "/unknown", "/audit", "/audit?node=w1", "/audit?node=" + url.QueryEscape(hostile), "/nodes/none", "/none",
}

func TestHeaders(t *testing.T) {
	s := newSite(t)
	s.history()
	for _, path := range append([]string{"/assets/k8snode.css", "/assets/none"}, everyPage...) {
		h := s.get(access.Operator, path).header
		csp := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: the policy %q is without %s", path, csp, want)
			}
		}
		if strings.Contains(csp, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" || h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %v", path, h)
		}
		if !strings.HasPrefix(path, "/assets/") && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: a browser keeps it: %q", path, h.Get("Cache-Control"))
		}
	}
}

// TestStructure holds what people with a screen reader or a keyboard need, and
// that what machines say makes no element, on every page.
func TestStructure(t *testing.T) {
	s := newSite(t)
	s.history()
	for _, path := range everyPage {
		for _, role := range []access.Role{access.Operator, access.Viewer, ""} {
			root, err := html.Parse(strings.NewReader(s.get(role, path).body))
			if err != nil {
				t.Fatal(err)
			}
			for _, problem := range structure(root) {
				t.Errorf("%s as %q: %s", path, role, problem)
			}
		}
	}
}

// rows are the names of the nodes that a page of the fleet shows.
func rows(t *testing.T, body string) []string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && n.Data == "tr" {
			for _, a := range n.Attr {
				if name, ok := strings.CutPrefix(a.Val, "node-"); ok && a.Key == "id" {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

func TestFleetQuery(t *testing.T) {
	s := newSite(t)
	for _, tt := range []struct {
		query string
		want  string
	}{
		{"?q=W1&show=installing", "w1"},
		{"?q=52-54-00-6B-00-04", "w1"},
		{"?q=52:54:00:6b:00:04", "w1"},
		{"?q=10.20.0.5/16", "w2"},
		{"?q=control", "cp1 cp2 cp3"},
		{"?q=input/output", "w4"},
		{"?q=" + url.QueryEscape("<img"), "w9"},
		{"?show=failed", "w4"},
		{"?show=registered", "spare1 spare2"},
		{"?show=none", ""},
		{"?show=attention", "w4 w5 w6 w7 long"},
		{"?show=attention&sort=state", "w4 w5 long w7 w6"},
		{"?show=attention&sort=name", "w4 w5 w6 w7 long"},
		{"?show=attention&sort=refused", "w5 w6 w4 w7 long"},
		{"?show=attention&sort=report", "long w5 w4 w7 w6"},
		{"?show=attention&sort=window", "w5 w7 long w4 w6"},
		{"?show=attention&sort=nonsense", "w4 w5 w6 w7 long"},
		{"?show=attention&page=99", "w4 w5 w6 w7 long"},
		{"?show=attention&page=-1", "w4 w5 w6 w7 long"},
	} {
		got := strings.Join(rows(t, s.get(access.Viewer, "/"+tt.query).body), " ")
		if got = strings.ReplaceAll(got, longName, "long"); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.query, got, tt.want)
		}
	}
	first, second := rows(t, s.get(access.Viewer, "/").body), rows(t, s.get(access.Viewer, "/?page=2").body)
	if len(first) != 50 || len(second) != 22 || first[0] != "cp1" || second[21] != "spare2" {
		t.Errorf("pages of %d and %d", len(first), len(second))
	}
	// The links of a page keep what was asked for.
	for _, want := range []string{`href="/?page=2&amp;q=w&amp;sort=name"`, `href="/?q=w&amp;show=ready&amp;sort=name"`, `aria-sort="ascending"`} {
		if body := s.get(access.Viewer, "/?q=w&sort=name").body; !strings.Contains(body, want) {
			t.Errorf("the page is without %s", want)
		}
	}
	long := s.get(access.Viewer, "/?q="+strings.Repeat("x", 5000)).body
	if strings.Contains(long, strings.Repeat("x", 101)) {
		t.Error("a search without an end comes back")
	}
}

// TestManyNodes is a fleet of 4500.
func TestManyNodes(t *testing.T) {
	s := newSite(t)
	s.backend.nodes = nil
	for i := range 4500 {
		s.backend.nodes = append(s.backend.nodes, admin.Node{Name: fmt.Sprintf("n%04d", i), Phase: api.PhaseInstalling, Step: "write", Done: int64(i), Total: 4500})
	}
	begin := time.Now()
	const looks = 20
	for range looks {
		s.clock.turn(2 * time.Second)
		if got := s.get(access.Viewer, "/?page=90&sort=name&q=n"); len(rows(t, got.body)) != 50 || len(got.body) > 60<<10 {
			t.Fatalf("%d bytes: %s", len(got.body), got.body)
		}
	}
	if took := time.Since(begin) / looks; took > 2*time.Second {
		t.Errorf("a page takes %s", took)
	}
	asked := s.backend.asked
	s.clock.turn(2 * time.Second)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { s.get(access.Viewer, "/") })
	}
	if wg.Wait(); s.backend.asked != asked+1 {
		t.Errorf("50 people at once: the backend was asked %d times", s.backend.asked-asked)
	}
}

func TestFragments(t *testing.T) {
	s := newSite(t)
	s.history()
	const header = "X-K8snode-Fragment"
	for _, path := range []string{"/", "/windows", "/unknown", "/nodes/w1"} {
		whole, part := s.get(access.Viewer, path), s.get(access.Viewer, path, header, "1")
		if strings.Contains(part.body, "<main") || !strings.HasPrefix(part.body, `<nav id="nav"`) || !strings.Contains(part.body, `<div id="live"`) {
			t.Errorf("%s: the part is %.200s", path, part.body)
		}
		if !strings.Contains(whole.body, part.body[strings.Index(part.body, "<div"):]) {
			t.Errorf("%s: the part is not one of the page", path)
		}
		tag := part.header.Get("ETag")
		if same := s.get(access.Viewer, path, header, "1", "If-None-Match", tag); same.status != 304 || same.body != "" {
			t.Errorf("%s: nothing has changed: %d", path, same.status)
		}
	}
	tag := s.get(access.Viewer, "/", header, "1").header.Get("ETag")
	s.clock.turn(2 * time.Second)
	if err := s.progress("w1", 99); err != nil {
		t.Fatal(err)
	}
	if other := s.get(access.Viewer, "/", header, "1", "If-None-Match", tag); other.status != 200 || !strings.Contains(other.body, "write 99 %") {
		t.Errorf("w1 is further: %d", other.status)
	}
	if whole := s.get(access.Viewer, "/audit", header, "1"); !strings.Contains(whole.body, "<main") {
		t.Error("a page that does not change has a part that does")
	}
}

func TestChanges(t *testing.T) {
	arm := url.Values{"for": {"1h"}, "erase": {"yes"}}
	for _, tt := range []struct {
		name, path string
		role       access.Role
		form       url.Values
		status     int
		want       string // the place to go on, or a part of the page
	}{
		{"arm", "/nodes/spare1/arm", access.Operator, arm, 303, "/nodes/spare1?done=arm"},
		{"disarm", "/nodes/w1/disarm", access.Operator, nil, 303, "/nodes/w1?done=disarm"},
		{"hold", "/nodes/w1/hold", access.Operator, nil, 303, "/nodes/w1?done=hold"},
		{"release", "/nodes/w5/release", access.Operator, nil, 303, "/nodes/w5?done=release"},
		{"a viewer", "/nodes/spare1/arm", access.Viewer, arm, 403, "Only an operator changes a node."},
		{"nobody", "/nodes/spare1/arm", "", arm, 403, "Only an operator changes a node."},
		{"not confirmed", "/nodes/spare1/arm", access.Operator, url.Values{"for": {"1h"}}, 400, "confirm that its disk is erased"},
		{"no length", "/nodes/spare1/arm", access.Operator, url.Values{"for": {"soon"}, "erase": {"yes"}}, 400, "The length of the window is none, such as 45m."},
		{"too long", "/nodes/spare1/arm", access.Operator, url.Values{"for": {"25h"}, "erase": {"yes"}}, 400, "Not done: impossible install window: it is longer than 24h0m0s."},
		{"unknown node", "/nodes/none/arm", access.Operator, arm, 404, "There is no node of this name"},
		{"unknown verb", "/nodes/w1/drop", access.Operator, nil, 404, "There is no such thing to do with a node."},
		{"backend refuses", "/nodes/full/arm", access.Operator, arm, 409, "Not done: arming node &#34;full&#34;: the disk is &lt;full&gt;."},
		{"a form without an end", "/nodes/w1/arm", access.Operator, url.Values{"for": {strings.Repeat("1", 10000)}}, 400, "The form cannot be read."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			r := s.post(tt.role, tt.path, tt.form)
			got := r.body
			if r.status == 303 {
				got = r.header.Get("Location")
			}
			if r.status != tt.status || !strings.Contains(got, tt.want) {
				t.Errorf("%d %s, want %d %s", r.status, got, tt.status, tt.want)
			}
			if changed := !cmp.Equal(s.backend.nodes, fleet(noon)); changed != (tt.status == 303) {
				t.Errorf("status %d, and the fleet changed: %t", r.status, changed)
			}
		})
	}
}

func TestForms(t *testing.T) {
	s := newSite(t)
	for _, tt := range []struct {
		name string
		role access.Role
		want string
	}{
		{"spare1", access.Operator, "arm"},
		{"w1", access.Operator, "disarm hold arm"},
		{"w5", access.Operator, "release disarm arm"},
		{"w5", access.Viewer, ""},
		{"w5", "", ""},
	} {
		var got []string
		for _, part := range strings.Split(s.get(tt.role, "/nodes/"+tt.name).body, `action="/nodes/`+tt.name+`/`)[1:] {
			got = append(got, part[:strings.Index(part, `"`)])
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%s as %q: %q, want %s", tt.name, tt.role, got, tt.want)
		}
	}
	plain, err := ui.New(ui.Options{Backend: s.backend, Now: s.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	s.ui = plain
	if body := s.get(access.Operator, "/nodes/w1").body; !strings.Contains(body, "This server keeps no audit log.") {
		t.Error("a server without an audit")
	}
	if r := s.get(access.Operator, "/audit?check=1"); r.status != 200 || !strings.Contains(r.body, "This server keeps no audit log.") {
		t.Errorf("audit: %d", r.status)
	}
}

func TestNodePage(t *testing.T) {
	s := newSite(t)
	s.history()
	for name, want := range map[string][]string{
		"w1":  {"write 25 %", "1.5 GiB of 6.0 GiB", `data-until="2026-03-01T12:38:12Z"`, "38 min left", "installing, write 20 %", "To arm the node again ends it", "<b>plan</b>"},
		"w4":  {"range 812: input/output error", `class="badge bad">failed`},
		"w5":  {"Held: too many installs in one window. Nothing more", "The newest of 2 refused requests came", "held: too many installs in one window"},
		"w6":  {"The newest of 1 refused request came", `datetime="2026-03-01T11:40:00Z"`, "20 min ago", "k8snode node remove w6"},
		"w7":  {"silent 34 min"},
		"w9":  {"&lt;img src=x onerror=&#34;pwned=1&#34;&gt;", "3 days ago"},
		"cp1": {"26 h ago", "Nothing has happened to this node."},
	} {
		body := s.get(access.Operator, "/nodes/"+name).body
		for _, text := range want {
			if !strings.Contains(body, text) {
				t.Errorf("%s is without %q", name, text)
			}
		}
	}
}

func TestFaults(t *testing.T) {
	s := newSite(t)
	s.backend.broken = errors.New("the store is gone")
	for _, path := range []string{"/", "/nodes/w1", "/windows", "/unknown", "/audit"} {
		r := s.get(access.Viewer, path)
		if r.status != 503 || strings.Contains(r.body, "store is gone") || !strings.Contains(r.body, "The log of the server says why.") {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	for _, opts := range []ui.Options{{}, {Backend: s.backend}, {Now: s.clock.Now}} {
		if _, err := ui.New(opts); err == nil || err.Error() != "making the web interface: it needs a backend and a clock" {
			t.Errorf("error %v", err)
		}
	}
}

func TestAssets(t *testing.T) {
	s := newSite(t)
	body := s.get("", "/").body
	for _, name := range []string{"k8snode.css", "k8snode.js", "icon.svg"} {
		at := strings.Index(body, "/assets/"+name)
		if at < 0 {
			t.Fatalf("the page is without %s", name)
		}
		path := body[at:]
		path = path[:strings.IndexAny(path, `"`)]
		r := s.get("", path)
		if r.status != 200 || r.header.Get("Cache-Control") != "public, max-age=31536000, immutable" {
			t.Errorf("%s: %d %q", path, r.status, r.header.Get("Cache-Control"))
		}
		if other := s.get("", "/assets/"+name+"?v=0"); other.header.Get("Cache-Control") != "no-cache" {
			t.Errorf("%s of another version is kept", name)
		}
	}
	if r := s.get("", "/assets/none.css"); r.status != 404 {
		t.Errorf("no such file: %d", r.status)
	}
}

func TestLoginPage(t *testing.T) {
	s := newSite(t)
	for _, tt := range []struct {
		page access.Page
		want []string
		form bool
	}{
		{access.Page{Status: 200, Login: true, Next: "/nodes/a?b=c"}, []string{`<h1>Sign in</h1>`, `name="next" value="/nodes/a?b=c"`}, true},
		{access.Page{Status: 401, Login: true, Next: `"><script>`, Message: "The token is not valid."}, []string{`role="alert">The token is not valid.`, `value="&#34;&gt;&lt;script&gt;"`}, true},
		{access.Page{Status: 403, Message: "Your role, viewer, may only look."}, []string{"<h1>Forbidden</h1>", "Your role, viewer, may only look."}, false},
	} {
		w := httptest.NewRecorder()
		s.ui.Page(w, httptest.NewRequest("GET", "/", nil), tt.page)
		body := w.Body.String()
		for _, want := range tt.want {
			if !strings.Contains(body, want) {
				t.Errorf("%d: the page is without %s", tt.page.Status, want)
			}
		}
		if w.Code != tt.page.Status || strings.Contains(body, `action="/login"`) != tt.form {
			t.Errorf("%d: %s", w.Code, body)
		}
		root, err := html.Parse(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range structure(root) {
			t.Errorf("%d: %s", tt.page.Status, problem)
		}
	}
}
