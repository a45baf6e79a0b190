package ui

import (
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// auditLength is how many entries a page of the audit has.
const auditLength = 100

// auditQuery is what of the audit is shown.
type auditQuery struct {
	Node   string
	Before int
}

func (q auditQuery) url() string {
	values := url.Values{}
	if q.Node != "" {
		values.Set("node", q.Node)
	}
	if q.Before > 0 {
		values.Set("before", strconv.Itoa(q.Before))
	}
	if len(values) == 0 {
		return "/audit"
	}
	return "/audit?" + values.Encode()
}

// entryView is a line of the audit.
type entryView struct {
	Entry
	When moment
	Tone tone
	// NodePath is empty for what is about no node.
	NodePath string
	From     string
}

func entryViews(entries []Entry, now time.Time) []entryView {
	views := make([]entryView, 0, len(entries))
	for _, e := range entries {
		v := entryView{Entry: e, When: moment{e.Time, ago(now.Sub(e.Time))}, Tone: resultTone(e.Result)}
		if e.Node != "" {
			v.NodePath = nodePath(e.Node)
		}
		if e.Address != (netip.Addr{}) {
			v.From = e.Address.String()
		}
		views = append(views, v)
	}
	return views
}

func resultTone(result string) tone {
	switch result {
	case "refused":
		return bad
	case "failed":
		return warn
	case "granted", "delivered", "recorded":
		return good
	}
	return quiet
}

type auditBody struct {
	Query   auditQuery
	Entries []entryView
	Chain   Chain
	Since   moment
	Total   int
	// Older and Newest are URLs; empty where there are none.
	Older, Newest string
	Recheck       string
	HasTrail      bool
}

func (u *UI) serveAudit(w http.ResponseWriter, r *http.Request) {
	nodes, strangers, err := u.look(r.Context())
	if err != nil {
		u.broken(w, r, "The nodes", err)
		return
	}
	values := r.URL.Query()
	q := auditQuery{Node: strings.TrimSpace(values.Get("node"))}
	if n, err := strconv.Atoi(values.Get("before")); err == nil && n > 0 {
		q.Before = n
	}
	if values.Get("check") != "" {
		if err := u.opts.Trail.Recheck(r.Context()); err != nil {
			u.broken(w, r, "The audit", err)
			return
		}
	}
	found, err := u.opts.Trail.Entries(r.Context(), EntryQuery{Node: q.Node, Before: q.Before, Limit: auditLength})
	if err != nil {
		u.broken(w, r, "The audit", err)
		return
	}
	f := u.frame(r, "audit", "Audit")
	f.UnknownCount, f.Windows = len(strangers), countOpen(nodes)
	body := auditBody{
		Query: q, Entries: entryViews(found.Entries, f.Now), Chain: found.Chain, Total: found.Total,
		Since: moment{found.Chain.Since, ago(f.Now.Sub(found.Chain.Since))}, HasTrail: u.opts.Trail != nil,
		Recheck: "/audit?check=1",
	}
	if found.Next > 0 {
		body.Older = auditQuery{q.Node, found.Next}.url()
	}
	if q.Before > 0 {
		body.Newest = auditQuery{Node: q.Node}.url()
	}
	f.Body = body
	u.show(w, r, http.StatusOK, "audit", f)
}
