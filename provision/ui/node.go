package ui

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/k8snode/k8snode/provision/access"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/store"
)

// timelineLength is how many events the page of a node has.
const timelineLength = 40

// maxForm bounds a form.
const maxForm = 8 << 10

type nodeBody struct {
	Node  nodeView
	Steps []step
	// Announce is what is said aloud when it changes.
	Announce string
	Timeline []entryView
	// Audit is the URL of the whole timeline, More that there is more.
	Audit    string
	More     bool
	HasTrail bool

	// Verbs that are of use now.
	Arm, Disarm, Hold, Release bool
	// Again says that there is an install that an arm would begin anew, or a node
	// that it would take.
	Again     string
	Lengths   []length
	DefaultTo string
}

// length is a choice of how long a window is open.
type length struct{ Value, Label string }

func lengths() []length {
	return []length{
		{"15m", "15 minutes"}, {"30m", "30 minutes"}, {"45m", "45 minutes"}, {"1h", "1 hour"},
		{"2h", "2 hours"}, {"4h", "4 hours"}, {"8h", "8 hours"}, {"24h", "24 hours"},
	}
}

func (u *UI) serveNode(w http.ResponseWriter, r *http.Request) {
	nodes, strangers, err := u.look(r.Context())
	if err != nil {
		u.broken(w, r, "The node", err)
		return
	}
	name := r.PathValue("name")
	at := slices.IndexFunc(nodes, func(n admin.Node) bool { return n.Name == name })
	if at < 0 {
		u.fail(w, r, http.StatusNotFound, "There is no node of this name in the cluster document.")
		return
	}
	f := u.frame(r, "fleet", name)
	f.Live, f.UnknownCount, f.Windows = 2, len(strangers), countOpen(nodes)
	body := u.nodeBody(u.view(nodes[at], f.Now))
	if body.HasTrail = u.opts.Trail != nil; body.HasTrail {
		events, err := u.opts.Trail.Entries(r.Context(), EntryQuery{Node: name, Limit: timelineLength})
		if err != nil {
			u.broken(w, r, "The audit", err)
			return
		}
		body.Timeline, body.More = entryViews(events.Entries, f.Now), events.Next > 0
	}
	f.Body = body
	u.show(w, r, http.StatusOK, "node", f)
}

func (u *UI) nodeBody(n nodeView) nodeBody {
	body := nodeBody{
		Node: n, Audit: auditQuery{Node: n.Name}.url(), Lengths: lengths(), DefaultTo: "45m",
		Arm: true, Disarm: n.Open, Release: n.Open && n.Held, Hold: n.Open && !n.Held,
	}
	switch {
	case underWay(n.Phase):
		body.Again = "An install is under way. To arm the node again ends it and begins another."
	case n.Phase == api.PhaseReady:
		body.Again = "The node is part of the cluster. Take it out first, with k8snode node remove " + n.Name + ": this form does not drain it."
	}
	reached := slices.Index(way(), n.Phase)
	for i, p := range way() {
		s := step{p, "ahead"}
		switch {
		case reached < 0:
		case i < reached || n.Phase == api.PhaseReady:
			s.State = "done"
		case i == reached:
			s.State = "current"
		}
		body.Steps = append(body.Steps, s)
	}
	// In tenths: a percent each second would be too much to listen to.
	body.Announce = string(n.Phase)
	if n.Bytes != "" {
		body.Announce = fmt.Sprintf("%s, %s %d %%", n.Phase, n.Step, n.Percent/10*10)
	} else if n.Doing != "" {
		body.Announce += ", " + n.Doing
	}
	if n.Held {
		body.Announce += ", held"
	}
	return body
}

// serveChange does what a form asks for, and shows the node.
func (u *UI) serveChange(w http.ResponseWriter, r *http.Request) {
	if !mayChange(r) {
		u.fail(w, r, http.StatusForbidden, "Only an operator changes a node.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		u.fail(w, r, http.StatusBadRequest, "The form cannot be read.")
		return
	}
	name, verb := r.PathValue("name"), r.PathValue("verb")
	var err error
	switch verb {
	case "arm":
		window, parseErr := time.ParseDuration(r.PostForm.Get("for"))
		if parseErr != nil {
			u.fail(w, r, http.StatusBadRequest, "The length of the window is none, such as 45m.")
			return
		}
		if r.PostForm.Get("erase") != "yes" {
			u.fail(w, r, http.StatusBadRequest, "The node was not armed: confirm that its disk is erased.")
			return
		}
		_, err = u.opts.Backend.Arm(r.Context(), name, admin.ArmOptions{For: window})
	case "disarm":
		_, err = u.opts.Backend.Disarm(r.Context(), name)
	case "release":
		_, err = u.opts.Backend.Release(r.Context(), name)
	case "hold":
		by, _ := access.FromContext(r.Context())
		_, err = u.opts.Backend.Hold(r.Context(), name, by.Name+" holds it")
	default:
		u.fail(w, r, http.StatusNotFound, "There is no such thing to do with a node.")
		return
	}
	u.lookAgain()
	switch {
	case errors.Is(err, store.ErrUnknownNode):
		u.fail(w, r, http.StatusNotFound, "There is no node of this name in the cluster document.")
	case errors.Is(err, store.ErrWindow):
		u.fail(w, r, http.StatusBadRequest, "Not done: "+err.Error()+".")
	case err != nil:
		u.log.Error("change not made", "node", name, "verb", verb, "error", err)
		u.fail(w, r, http.StatusConflict, "Not done: "+err.Error()+".")
	default:
		http.Redirect(w, r, nodePath(name)+"?done="+verb, http.StatusSeeOther)
	}
}

// done says what the form before a page did.
func done(r *http.Request) string {
	switch r.URL.Query().Get("done") {
	case "arm":
		return "The install window is open."
	case "disarm":
		return "The install window is closed."
	case "hold":
		return "The node is held: nothing is installed."
	case "release":
		return "The node may install again."
	}
	return ""
}
