package ui

import (
	"net/http"
	"strings"
	"time"

	"github.com/k8snode/k8snode/provision/admin"
)

// strangerView is a machine that nobody knows.
type strangerView struct {
	admin.Stranger
	// Model is who made it, and what it is.
	Model     string
	FirstSeen moment
	LastSeen  moment
}

type unknownBody struct{ Strangers []strangerView }

func strangerViews(strangers []admin.Stranger, now time.Time) []strangerView {
	views := make([]strangerView, 0, len(strangers))
	for _, s := range strangers {
		views = append(views, strangerView{
			Stranger: s, Model: strings.TrimSpace(s.Manufacturer + " " + s.Product),
			FirstSeen: moment{s.First, ago(now.Sub(s.First))}, LastSeen: moment{s.Last, ago(now.Sub(s.Last))},
		})
	}
	return views
}

func (u *UI) serveUnknown(w http.ResponseWriter, r *http.Request) {
	nodes, strangers, err := u.look(r.Context())
	if err != nil {
		u.broken(w, r, "The unknown machines", err)
		return
	}
	f := u.frame(r, "unknown", "Unknown machines")
	f.Live, f.UnknownCount, f.Windows = 5, len(strangers), countOpen(nodes)
	f.Body = unknownBody{strangerViews(strangers, f.Now)}
	u.show(w, r, http.StatusOK, "unknown", f)
}
