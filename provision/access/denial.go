package access

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// denial is an answer to somebody who is not let in.
type denial struct {
	status int
	reason string
	// blank says that the request showed nothing that could be wrong.
	blank bool
	// wait is how long to wait before trying again, if that helps.
	wait time.Duration
}

func tooMany(wait time.Duration) *denial {
	return &denial{
		status: http.StatusTooManyRequests, wait: wait,
		reason: fmt.Sprintf("too many failed attempts from this address: try again in %s", time.Duration(math.Ceil(wait.Seconds()))*time.Second),
	}
}

// problem is the body of an answer to a program (RFC 9457). Error repeats the
// detail where the clients of the API look for it.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Error  string `json:"error"`
}

// deny answers a person by a page and a program by a problem.
func (g *Guard) deny(w http.ResponseWriter, r *http.Request, d denial) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", "Accept")
	h.Set("X-Content-Type-Options", "nosniff")
	if d.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="k8snode"`)
	}
	if d.wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(d.wait.Seconds()))))
	}
	if isPerson(r) {
		g.page(w, r, d, next(r))
		return
	}
	b, err := json.Marshal(problem{
		Type: "about:blank", Title: http.StatusText(d.status), Status: d.status, Detail: d.reason, Error: d.reason,
	})
	if err != nil {
		b = []byte("{}")
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(d.status)
	// The reader is gone if this fails; there is nobody to tell.
	_, _ = w.Write(append(b, '\n'))
}

func (g *Guard) page(w http.ResponseWriter, r *http.Request, d denial, to string) {
	p := Page{Status: d.status, Next: to}
	if !d.blank {
		p.Message = sentence(d.reason)
	}
	p.Login = g.opts.Tokens != nil && (d.status == http.StatusUnauthorized || d.status == http.StatusTooManyRequests || d.status == http.StatusOK)
	if g.opts.Page == nil {
		http.Error(w, sentence(d.reason), d.status)
		return
	}
	g.opts.Page(w, r, p)
}

// sentence makes a reason one.
func sentence(reason string) string {
	if reason == "" {
		return ""
	}
	return strings.ToUpper(reason[:1]) + reason[1:] + "."
}

// isPerson reports whether a browser shows the answer.
func isPerson(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}

// next is where to go on after a login that a request makes necessary. What
// was sent by POST is not sent again.
func next(r *http.Request) string {
	if !safe(r.Method) {
		return "/"
	}
	return local(r.URL.RequestURI())
}

// local returns the path and query of a URL of this server, or /: a login leads
// nowhere else.
func local(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" ||
		!strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || strings.ContainsAny(text, "\\\r\n\t") ||
		u.Path == loginPath || u.Path == logoutPath {
		return "/"
	}
	return text
}

// describe says what a request asks for, without its query and in bounds.
func describe(r *http.Request) string {
	path := r.URL.EscapedPath()
	if len(path) > 200 {
		path = path[:200] + "…"
	}
	return r.Method + " " + path
}
