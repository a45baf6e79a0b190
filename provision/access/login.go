package access

import (
	"html"
	"net/http"
	"strings"
)

// maxForm bounds the form of a login.
const maxForm = 8 << 10

func (g *Guard) serveLogin(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		to := local(r.URL.Query().Get("next"))
		if _, denied := g.identify(r); denied == nil {
			http.Redirect(w, r, to, http.StatusSeeOther)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		g.page(w, r, denial{status: http.StatusOK, blank: true}, to)
	case http.MethodPost:
		g.login(w, r)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		g.deny(w, r, denial{status: http.StatusMethodNotAllowed, reason: "the login takes GET and POST"})
	}
}

// login exchanges a token for a session. A session that the browser has ends in
// any case: nobody goes on as somebody else.
func (g *Guard) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		g.deny(w, r, denial{status: http.StatusBadRequest, reason: "the form cannot be read"})
		return
	}
	to := local(r.PostForm.Get("next"))
	g.sessions.end(r)
	token := strings.TrimSpace(r.PostForm.Get("token"))
	e, denied := g.checkToken(r, token)
	if denied != nil {
		http.SetCookie(w, g.sessions.cookie(""))
		if isPerson(r) {
			w.Header().Set("Cache-Control", "no-store")
			g.page(w, r, *denied, to)
			return
		}
		g.deny(w, r, *denied)
		return
	}
	i := Identity{e.name, e.role, ByToken}
	if err := g.record(r, Event{Identity: i, Action: "login", Result: "granted"}); err != nil {
		g.deny(w, r, denial{status: http.StatusServiceUnavailable, reason: "the login cannot be recorded, so there is none"})
		return
	}
	id, err := g.sessions.begin(tokenDigest(token))
	if err != nil {
		g.log.Error("no session begun", "error", err)
		g.deny(w, r, denial{status: http.StatusServiceUnavailable, reason: "no session can be begun: see the log of the server"})
		return
	}
	g.log.Info("signed in", "identity", i.String(), "address", clientAddr(r).String())
	http.SetCookie(w, g.sessions.cookie(id))
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (g *Guard) serveLogout(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		g.deny(w, r, denial{status: http.StatusMethodNotAllowed, reason: "the logout takes POST"})
		return
	}
	if sum, ok := g.sessions.token(r); ok {
		var i Identity
		if tokens, denied := g.tokens(); denied == nil {
			if e, ok := tokens.findDigest(sum); ok {
				i = Identity{e.name, e.role, BySession}
			}
		}
		_ = g.record(r, Event{Identity: i, Action: "logout", Result: "granted"})
		g.sessions.end(r)
	}
	http.SetCookie(w, g.sessions.cookie(""))
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, loginPath, http.StatusSeeOther)
}

// askAgain lets a browser ask again for a page to which a link of another site
// led: it did not send the cookie along, and does when our own page leads there.
func (g *Guard) askAgain(w http.ResponseWriter, r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")
	if r.Method != http.MethodGet || g.opts.Tokens == nil || site != "cross-site" && site != "same-site" ||
		r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Authorization") != "" || len(r.Header.Values("Cookie")) > 0 {
		return false
	}
	to := next(r)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Refresh", "0; url="+to)
	_, _ = w.Write([]byte(`<!doctype html><html lang="en"><title>k8snode</title><a href="` + html.EscapeString(to) + `">Go on</a>` + "\n"))
	return true
}
