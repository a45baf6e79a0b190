package ui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"github.com/k8snode/k8snode/provision/access"
)

//go:embed templates
var templateFS embed.FS

// pages has one template for each page: the frame, and the page's own parts.
var pages = map[string]*template.Template{
	"fleet":   parse("fleet"),
	"node":    parse("node"),
	"windows": parse("windows"),
	"unknown": parse("unknown"),
	"audit":   parse("audit"),
	"login":   parse("login"),
	"message": parse("message"),
}

func parse(name string) *template.Template {
	return template.Must(template.New(name).Option("missingkey=error").ParseFS(
		templateFS, "templates/frame.html.tmpl", "templates/parts.html.tmpl", "templates/"+name+".html.tmpl"))
}

// frame is what surrounds every page.
type frame struct {
	Title   string
	Cluster string
	// Section is the part of the navigation that the page is in.
	Section string
	// Now is the server's clock, for the countdowns.
	Now time.Time
	// Live is the number of seconds after which the page fetches what changed; 0
	// for a page that does not.
	Live int
	// Identity is the zero value for somebody who is not signed in.
	Identity access.Identity
	// MayChange says that forms are shown.
	MayChange bool
	CanLogOut bool
	// Done says what the form of the page before did.
	Done                  string
	Stylesheet, Script    string
	Icon                  string
	Windows, UnknownCount int
	Body                  any
}

func (u *UI) frame(r *http.Request, section, title string) frame {
	f := frame{Title: title, Cluster: u.opts.Cluster, Section: section, Now: u.opts.Now(), Done: done(r)}
	f.Identity, _ = access.FromContext(r.Context())
	f.MayChange, f.CanLogOut = mayChange(r), f.Identity.Method == access.BySession
	return f
}

// fragmentHeader asks for the part of a page that changes.
const fragmentHeader = "X-K8snode-Fragment"

// show answers with a page, or with the part of it that changes. The answer is
// short when the browser has that already.
func (u *UI) show(w http.ResponseWriter, r *http.Request, status int, page string, f frame) {
	protect(w)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Add("Vary", fragmentHeader)
	part := "frame"
	if f.Live > 0 && r.Header.Get(fragmentHeader) != "" {
		part = "live"
	}
	var err error
	for name, into := range map[string]*string{"k8snode.css": &f.Stylesheet, "k8snode.js": &f.Script, "icon.svg": &f.Icon} {
		if *into, err = u.files.url(name); err != nil {
			break
		}
	}
	var body bytes.Buffer
	if err == nil {
		err = pages[page].ExecuteTemplate(&body, part, f)
	}
	if err != nil {
		u.log.Error("page not made", "page", page, "error", err)
		http.Error(w, "the page cannot be made: see the log of the server", http.StatusInternalServerError)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	if part == "live" {
		sum := sha256.Sum256(body.Bytes())
		tag := `"` + hex.EncodeToString(sum[:16]) + `"`
		h.Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	// The reader is gone if this fails; there is nobody to tell.
	_, _ = w.Write(body.Bytes())
}

// message is a page with one sentence.
type message struct {
	Status int
	Text   string
	// Back is where to go on.
	Back string
}

func (u *UI) fail(w http.ResponseWriter, r *http.Request, status int, text string) {
	f := u.frame(r, "", http.StatusText(status))
	f.Body = message{status, text, "/"}
	u.show(w, r, status, "message", f)
}

// broken is for a fault of the server's own.
func (u *UI) broken(w http.ResponseWriter, r *http.Request, what string, err error) {
	u.log.Error("page not shown", "path", r.URL.Path, "error", err)
	u.fail(w, r, http.StatusServiceUnavailable, what+" cannot be read now. The log of the server says why.")
}

// Page is for [access.Options.Page]: it lets a person sign in, or says why that
// does not help.
func (u *UI) Page(w http.ResponseWriter, r *http.Request, p access.Page) {
	f := u.frame(r, "", http.StatusText(p.Status))
	if !p.Login {
		f.Body = message{p.Status, p.Message, "/"}
		u.show(w, r, p.Status, "message", f)
		return
	}
	f.Title = "Sign in"
	f.Body = p
	u.show(w, r, p.Status, "login", f)
}
