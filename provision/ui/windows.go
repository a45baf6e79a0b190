package ui

import (
	"fmt"
	"net/http"
)

type windowsBody struct {
	// Open are the nodes with an open window, the one that ends first in front.
	Open     []nodeView
	Announce string
}

func (u *UI) serveWindows(w http.ResponseWriter, r *http.Request) {
	nodes, strangers, err := u.look(r.Context())
	if err != nil {
		u.broken(w, r, "The windows", err)
		return
	}
	f := u.frame(r, "windows", "Install windows")
	var body windowsBody
	held := 0
	for _, n := range nodes {
		if !n.Open {
			continue
		}
		if n.Held {
			held++
		}
		body.Open = append(body.Open, u.view(n, f.Now))
	}
	sortViews(body.Open, "window")
	body.Announce = fmt.Sprintf("%d open, %d held", len(body.Open), held)
	f.Live, f.UnknownCount, f.Windows, f.Body = 3, len(strangers), len(body.Open), body
	u.show(w, r, http.StatusOK, "windows", f)
}
