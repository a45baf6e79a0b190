package ui_test

import (
	"crypto/rand"
	"crypto/tls"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision/access"
)

// Flags for people: to see the pages, and to check them with axe-core.
var (
	screenshots = flag.String("screenshots", "", "folder into which the browser test writes pictures of every page")
	axe         = flag.String("axe", "", "axe.min.js of axe-core: check every page with it")
)

// gate is a site behind its guard, by HTTPS.
type gate struct {
	*site
	url              string
	viewer, operator string
	server           *httptest.Server
}

func openGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{site: newSite(t)}
	g.history()
	var lines string
	for name, role := range map[string]access.Role{"vera": access.Viewer, "otto": access.Operator} {
		token, line, err := access.NewToken(rand.Reader, name, role)
		if err != nil {
			t.Fatal(err)
		}
		if lines += line; role == access.Viewer {
			g.viewer = token
		} else {
			g.operator = token
		}
	}
	tokens, err := access.ParseTokens("tokens", []byte(lines))
	if err != nil {
		t.Fatal(err)
	}
	guard, err := access.New(access.Options{
		Tokens: func() (access.Tokens, error) { return tokens, nil },
		Page:   g.ui.Page, Public: []string{"/assets/"}, Now: g.clock.Now, Rand: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	g.server = httptest.NewUnstartedServer(guard.Middleware(g.ui.Handler()))
	g.server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	g.server.StartTLS()
	t.Cleanup(g.server.Close)
	g.url = g.server.URL
	return g
}

// signIn goes to a page through the login, by the keyboard alone.
func (g *gate) signIn(tb *tab, token, path string) {
	tb.t.Helper()
	tb.open(g.url + path)
	tb.until(`document.activeElement.id === "token"`)
	tb.write(token)
	tb.andWait(func() { tb.key("Enter") })
	tb.pardon() // of the 401 before
}

func (g *gate) pages() map[string]string {
	return map[string]string{
		"fleet": "/", "fleet-2": "/?page=2", "fleet-filter": "/?show=attention&sort=state", "fleet-empty": "/?q=nothing",
		"node-installing": "/nodes/w1", "node-failed": "/nodes/w4", "node-held": "/nodes/w5", "node-refused": "/nodes/w6",
		"node-hostile": "/nodes/w9", "node-ready": "/nodes/cp1", "windows": "/windows", "unknown": "/unknown", "audit": "/audit",
		"audit-node": "/audit?node=w1", "missing": "/nodes/none",
		"node-long": "/nodes/" + longName, "fleet-long": "/?q=long",
	}
}

// TestPages opens every page in every way that people look at pages.
func TestPages(t *testing.T) {
	b := startBrowser(t)
	g := openGate(t)
	for name, l := range map[string]look{
		"light": {}, "dark": {Dark: true, Still: true}, "narrow": {Width: 360, Height: 740}, "narrow-dark": {Width: 360, Height: 740, Dark: true},
		"middle": {Width: 800, Height: 900}, "wide": {Width: 1920, Height: 1080}, "noscript": {NoScript: true},
	} {
		t.Run(name, func(t *testing.T) {
			tb := b.tab(t, l)
			tb.open(g.url + "/")
			check(t, tb, name, "login")
			g.signIn(tb, g.operator, "/")
			for page, path := range g.pages() {
				tb.open(g.url + path)
				if page == "missing" {
					tb.pardon() // of the 404
				}
				check(t, tb, name, page)
			}
		})
	}
}

// check holds for every page, however it is looked at.
func check(t *testing.T, tb *tab, name, page string) {
	t.Helper()
	var got struct {
		Scroll, Width int
		Pwned         bool
		Scripts       int
		Outside       []string
		Small         []string
	}
	tb.eval(`(() => ({
		scroll: document.documentElement.scrollWidth, width: innerWidth, pwned: "pwned" in window,
		scripts: document.scripts.length,
		outside: [...document.querySelectorAll("#live > *, #live section > *, #live .card > *")].filter(e =>
			e.getBoundingClientRect().right > e.parentElement.getBoundingClientRect().right + 1).map(e => e.outerHTML.slice(0, 80)),
		small: [...document.querySelectorAll("body *")].filter(e => e.childNodes.length && parseFloat(getComputedStyle(e).fontSize) < 12).map(e => e.outerHTML.slice(0, 80)),
	}))()`, &got)
	if got.Scroll > got.Width {
		t.Errorf("%s is %d wide in a window of %d", page, got.Scroll, got.Width)
	}
	if len(got.Outside) > 0 {
		t.Errorf("%s has what reaches out: %q", page, got.Outside)
	}
	if got.Pwned || got.Scripts != 1 {
		t.Errorf("%s runs what a machine said: %+v", page, got)
	}
	if len(got.Small) > 0 {
		t.Errorf("%s has text that is too small to read: %q", page, got.Small)
	}
	if *screenshots != "" {
		if err := os.WriteFile(filepath.Join(*screenshots, name+"-"+page+".png"), tb.screenshot(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if *axe != "" && name != "noscript" {
		checkAxe(t, tb, name+" "+page)
	}
}

// checkAxe runs axe-core in the page.
func checkAxe(t *testing.T, tb *tab, what string) {
	t.Helper()
	source, err := os.ReadFile(*axe)
	if err != nil {
		t.Fatal(err)
	}
	var there bool
	tb.eval(string(source)+"\n;true", &there)
	var violations []struct {
		ID, Impact, Help string
		Nodes            []string
	}
	tb.eval(`axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then(r =>
		r.violations.map(v => ({id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.map(n => n.html.slice(0, 200) + " " + n.failureSummary)})))`, &violations)
	for _, v := range violations {
		t.Errorf("%s: axe: %s (%s): %s\n%q", what, v.ID, v.Impact, v.Help, v.Nodes)
	}
}

func TestLoginInBrowser(t *testing.T) {
	b := startBrowser(t)
	g := openGate(t)
	tb := b.tab(t, look{})
	g.signIn(tb, "wrong", "/nodes/w1")
	if got := tb.text("[role=alert]"); got != "The token is not valid." {
		t.Errorf("a wrong token: %q", got)
	}
	tb.until(`document.activeElement.id === "token"`)
	tb.write(g.viewer)
	tb.andWait(func() { tb.key("Enter") })
	if got := tb.text("h1"); got != "w1" {
		t.Errorf("after the login: %q", got)
	}
	if got := tb.text(".person"); got != "vera viewer" {
		t.Errorf("signed in as %q", got)
	}
	if got := tb.text("form[action*=arm]"); got != "(nothing)" {
		t.Errorf("a viewer sees a form: %q", got)
	}
	var visible string
	if tb.eval("document.cookie", &visible); visible != "" {
		t.Errorf("scripts see the cookie %q", visible)
	}
	// A link on another site leads here, and its reader stays signed in.
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<a href="%s/nodes/w2">w2</a>
			<form method=post action="%[1]s/logout"><button>x</button></form>`, g.url)
	}))
	defer elsewhere.Close()
	tb.open(elsewhere.URL)
	tb.pardon() // of the icon that it has not
	var any bool
	tb.eval("document.querySelector('a').click(), true", &any)
	tb.until(`document.querySelector("h1")?.innerText === "w2"`)
	// And a form there signs nobody out.
	tb.open(elsewhere.URL)
	tb.pardon()
	tb.eval("document.querySelector('button').click(), true", &any)
	tb.until(`document.querySelector("h1")?.innerText === "Forbidden"`)
	tb.pardon()
	tb.open(g.url + "/")
	if got := tb.text(".person"); got != "vera viewer" {
		t.Errorf("after a form of another site: %q", got)
	}
	tb.eval("document.querySelector('form[action=\"/logout\"] button').click(), true", &any)
	tb.until(`document.querySelector("h1")?.innerText === "Sign in"`)
	tb.open(g.url + "/nodes/w2")
	tb.pardon()
	if got := tb.text("h1"); got != "Sign in" {
		t.Errorf("after the logout: %q", got)
	}
}

// TestLive changes the fleet behind a page that is open.
func TestLive(t *testing.T) {
	b := startBrowser(t)
	g := openGate(t)
	tb := b.tab(t, look{})
	g.signIn(tb, g.viewer, "/")
	var any bool
	tb.eval(`document.querySelector("#node-w3 a").focus(), window.here = document.querySelector("#node-w1"), true`, &any)
	g.clock.turn(2 * time.Second)
	g.set("w1", 60)
	g.backend.mu.Lock()
	g.backend.nodes = append(g.backend.nodes[:4], g.backend.nodes[5:]...) // without w2
	g.backend.strangers = nil
	g.backend.mu.Unlock()
	tb.until(`document.querySelector("#node-w1 .doing").innerText === "write 60 %"`)
	tb.until(`!document.querySelector("#node-w2") && !document.querySelector("#strangers")`)
	tb.until(`document.querySelector("#nav a[href='/unknown']").innerText === "Unknown"`)
	var same bool
	tb.eval(`document.activeElement === document.querySelector("#node-w3 a") && window.here === document.querySelector("#node-w1")`, &same)
	if !same {
		t.Error("the focus, or a row that is still there, was lost")
	}

	tb.open(g.url + "/nodes/w1")
	const status = `document.querySelector("#live [role=status]").innerText`
	tb.until(status + ` === "installing, write 60 %"`)
	tb.until(`/^3[78]:[0-5][0-9]$/.test(document.querySelector("dd .countdown").innerText)`)
	var first string
	tb.eval(`window.said = 0, new MutationObserver(() => said++).observe(document.querySelector("#live [role=status]"), {subtree: true, childList: true, characterData: true}), document.querySelector("dd .countdown").innerText`, &first)
	tb.until(fmt.Sprintf(`document.querySelector("dd .countdown").innerText !== %q`, first))
	g.clock.turn(2 * time.Second)
	g.set("w1", 64)
	tb.until(`document.querySelector(".doing").innerText === "write 64 %" && document.querySelector("progress.large").value === 64`)
	var said int
	if tb.eval("said", &said); said != 0 {
		t.Errorf("four percent more were announced %d times", said)
	}
	g.clock.turn(2 * time.Second)
	g.set("w1", 71)
	tb.until(status + ` === "installing, write 70 %"`)

	g.clock.turn(13 * time.Hour)
	tb.until(`document.querySelector("#connection").innerText.startsWith("You are no longer signed in")`)
	tb.pardon()
}

// TestServerGone says so, and goes on when the server is there again.
func TestServerGone(t *testing.T) {
	b := startBrowser(t)
	g := openGate(t)
	tb := b.tab(t, look{})
	g.signIn(tb, g.viewer, "/nodes/w1")
	g.backend.mu.Lock()
	g.backend.broken = fmt.Errorf("the store is gone")
	g.backend.mu.Unlock()
	g.clock.turn(2 * time.Second)
	tb.until(`document.querySelector("#connection").innerText.startsWith("The server does not answer")`)
	g.backend.mu.Lock()
	g.backend.broken = nil
	g.backend.mu.Unlock()
	g.set("w1", 90)
	tb.until(`document.querySelector("#connection").hidden && document.querySelector(".doing").innerText === "write 90 %"`)
	tb.pardon() // of the 503
}

// TestKeyboard does what an operator does, without a mouse, and without scripts.
func TestKeyboard(t *testing.T) {
	b := startBrowser(t)
	for name, l := range map[string]look{"script": {}, "noscript": {NoScript: true}} {
		t.Run(name, func(t *testing.T) {
			g := openGate(t)
			tb := b.tab(t, l)
			g.signIn(tb, g.operator, "/nodes/spare1")
			tb.key("Tab")
			const focus = `document.activeElement`
			tb.until(focus + `.className === "skip" && getComputedStyle(` + focus + `).outlineStyle !== "none"`)
			picture(t, tb, name+"-focus-skip")
			tb.key("Enter")
			tb.until(focus + `.id === "main"`)
			var seen []string
			for range 10 {
				tb.key("Tab")
				var at string
				var ring bool
				tb.eval(focus+`.id || `+focus+`.innerText`, &at)
				tb.eval(`(s => s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2)(getComputedStyle(`+focus+`))`, &ring)
				if !ring {
					t.Errorf("the focus on %q cannot be seen", at)
				}
				if seen = append(seen, at); at == "erase" {
					break
				}
			}
			if fmt.Sprint(seen) != "[Fleet for erase]" {
				t.Errorf("the way to the form is %q", seen)
			}
			// Without the confirmation the browser keeps the form.
			tb.key("Tab")
			picture(t, tb, name+"-focus-arm")
			tb.eval(`document.getElementById("erase").focus(), true`, new(bool))
			tb.key(" ")
			tb.key("Tab")
			tb.andWait(func() { tb.key("Enter") })
			if got := tb.text(".now .badge"); got != "armed" {
				t.Errorf("after the form: %q", got)
			}
			if got := tb.text(".notice.good"); got != "The install window is open." {
				t.Errorf("after the form: %q", got)
			}
		})
	}
}

func (g *gate) set(name string, percent int64) {
	g.t.Helper()
	if err := g.progress(name, percent); err != nil {
		g.t.Fatal(err)
	}
}

func picture(t *testing.T, tb *tab, name string) {
	t.Helper()
	if *screenshots == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), tb.screenshot(), 0o644); err != nil {
		t.Fatal(err)
	}
}
