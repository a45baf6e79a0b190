package ui

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
)

// maxQuery bounds what somebody searches for.
const maxQuery = 100

// showAttention is the value of the query's show that is not a phase.
const showAttention = "attention"

// fleetQuery is what of the fleet is shown.
type fleetQuery struct {
	Search string
	// Show is a phase, attention, or empty for all.
	Show string
	// Sort is a column; empty for the order of the cluster document.
	Sort string
	Page int
}

func readFleetQuery(r *http.Request) fleetQuery {
	values := r.URL.Query()
	q := fleetQuery{Search: strings.TrimSpace(values.Get("q")), Show: values.Get("show"), Sort: values.Get("sort"), Page: 1}
	if runes := []rune(q.Search); len(runes) > maxQuery {
		q.Search = string(runes[:maxQuery])
	}
	if n, err := strconv.Atoi(values.Get("page")); err == nil && n > 1 {
		q.Page = n
	}
	return q
}

// url is the path of the fleet with a query.
func (q fleetQuery) url() string {
	values := url.Values{}
	for key, value := range map[string]string{"q": q.Search, "show": q.Show, "sort": q.Sort} {
		if value != "" {
			values.Set(key, value)
		}
	}
	if q.Page > 1 {
		values.Set("page", strconv.Itoa(q.Page))
	}
	if len(values) == 0 {
		return "/"
	}
	return "/?" + values.Encode()
}

// choice is a link that changes the query.
type choice struct {
	Label   string
	URL     string
	Count   int
	Tone    tone
	Current bool
}

// column is a head of the table.
type column struct {
	Label string
	URL   string
	// Sorted is the value of aria-sort; empty when the table is not sorted by it.
	Sorted string
	// Wide columns are left out where there is no room.
	Wide bool
	// Number columns are aligned to the right.
	Number bool
	// Grows takes the room that is left.
	Grows bool
}

type fleetBody struct {
	Query   fleetQuery
	Choices []choice
	Columns []column
	Nodes   []nodeView
	// Matches is the number of nodes on all pages, All that of the fleet.
	Matches, All int
	First, Last  int
	// Previous and Next are the URLs of the pages beside this one.
	Previous, Next string
	Page, Pages    int
	// Clear is the URL without the search.
	Clear string
	// Alarms are nodes of which a request was refused lately, AlarmsURL where
	// they are.
	Alarms    int
	AlarmsURL string
	// Announce is what is said aloud when it changes.
	Announce  string
	Strangers []strangerView
	// MoreStrangers says that the page of its own has others.
	MoreStrangers int
}

// strangersOfFleet is how many unknown machines the page of the fleet has.
const strangersOfFleet = 5

func (u *UI) serveFleet(w http.ResponseWriter, r *http.Request) {
	nodes, strangers, err := u.look(r.Context())
	if err != nil {
		u.broken(w, r, "The nodes", err)
		return
	}
	f := u.frame(r, "fleet", "Fleet")
	f.Live, f.UnknownCount = 3, len(strangers)
	body := u.fleet(nodes, readFleetQuery(r), f.Now)
	f.Windows = countOpen(nodes)
	body.Strangers = strangerViews(strangers[:min(len(strangers), strangersOfFleet)], f.Now)
	body.MoreStrangers = len(strangers) - len(body.Strangers)
	f.Body = body
	u.show(w, r, http.StatusOK, "fleet", f)
}

func countOpen(nodes []admin.Node) int {
	open := 0
	for _, n := range nodes {
		if n.Open {
			open++
		}
	}
	return open
}

// fleet chooses, sorts and counts.
func (u *UI) fleet(nodes []admin.Node, q fleetQuery, now time.Time) fleetBody {
	body := fleetBody{All: len(nodes), AlarmsURL: fleetQuery{Show: showAttention}.url()}
	counts := make(map[string]int)
	var chosen []nodeView
	for _, n := range nodes {
		v := u.view(n, now)
		counts[string(n.Phase)]++
		if v.Attention() {
			counts[showAttention]++
		}
		if v.Alarm {
			body.Alarms++
		}
		if v.shownBy(q) {
			chosen = append(chosen, v)
		}
	}
	sortViews(chosen, q.Sort)
	body.Matches = len(chosen)
	body.Pages = max(1, (len(chosen)+u.opts.PageSize-1)/u.opts.PageSize)
	q.Page = min(q.Page, body.Pages)
	begin := (q.Page - 1) * u.opts.PageSize
	end := min(begin+u.opts.PageSize, len(chosen))
	body.Nodes, body.Page, body.First, body.Last = chosen[begin:end], q.Page, begin+1, end
	at := func(page int) string { other := q; other.Page = page; return other.url() }
	if q.Page > 1 {
		body.Previous = at(q.Page - 1)
	}
	if q.Page < body.Pages {
		body.Next = at(q.Page + 1)
	}
	other := q
	other.Search, other.Page = "", 1
	body.Query, body.Clear = q, other.url()
	body.Choices, body.Columns = choices(q, counts, len(nodes)), columns(q)
	body.Announce = announce(counts, body.Alarms)
	return body
}

// shownBy reports whether a query asks for the node.
func (n nodeView) shownBy(q fleetQuery) bool {
	switch q.Show {
	case "":
	case showAttention:
		if !n.Attention() {
			return false
		}
	default:
		if string(n.Phase) != q.Show {
			return false
		}
	}
	if q.Search == "" {
		return true
	}
	text := strings.ToLower(q.Search)
	for _, field := range []string{n.Name, n.Role, n.MAC, strings.ReplaceAll(n.MAC, ":", "-"), n.Address, n.Message} {
		if strings.Contains(strings.ToLower(field), text) {
			return true
		}
	}
	return false
}

func choices(q fleetQuery, counts map[string]int, all int) []choice {
	var list []choice
	add := func(label, show string, count int, t tone) {
		if count == 0 && show != "" && show != q.Show {
			return // nothing to choose
		}
		list = append(list, choice{label, fleetQuery{Search: q.Search, Show: show, Sort: q.Sort}.url(), count, t, q.Show == show})
	}
	add("All", "", all, quiet)
	add("Needs attention", showAttention, counts[showAttention], bad)
	add("Failed", string(api.PhaseFailed), counts[string(api.PhaseFailed)], bad)
	for _, p := range way() {
		add(capital(string(p)), string(p), counts[string(p)], phaseTone(p))
	}
	add("Registered", string(api.PhaseRegistered), counts[string(api.PhaseRegistered)], quiet)
	return list
}

func capital(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// columns are those of the table. A second click takes the order back.
func columns(q fleetQuery) []column {
	head := []struct {
		label, sort, order string
		column
	}{
		{"Node", "name", "ascending", column{}},
		{"Role", "", "", column{Wide: true}},
		{"Address", "", "", column{Wide: true}},
		{"State", "state", "ascending", column{}},
		{"Window", "window", "ascending", column{Number: true}},
		{"Refused", "refused", "descending", column{Number: true}},
		{"Last report", "report", "descending", column{Wide: true, Number: true}},
		{"Message", "", "", column{Wide: true, Grows: true}},
	}
	list := make([]column, 0, len(head))
	for _, h := range head {
		c := h.column
		c.Label = h.label
		if h.sort != "" {
			other := q
			other.Sort, other.Page = h.sort, 1
			if q.Sort == h.sort {
				other.Sort, c.Sorted = "", h.order
			}
			c.URL = other.url()
		}
		list = append(list, c)
	}
	return list
}

// sortViews sorts by a column. Equal rows stay in the order of the document.
func sortViews(nodes []nodeView, by string) {
	switch by {
	case "name":
		slices.SortStableFunc(nodes, func(a, b nodeView) int { return strings.Compare(a.Name, b.Name) })
	case "state":
		slices.SortStableFunc(nodes, func(a, b nodeView) int { return cmp.Compare(urgency(a), urgency(b)) })
	case "window":
		slices.SortStableFunc(nodes, func(a, b nodeView) int {
			if a.Open != b.Open {
				return compareBool(a.Open, b.Open)
			}
			if !a.Open {
				return 0
			}
			return a.WindowEnd.Compare(b.WindowEnd)
		})
	case "refused":
		slices.SortStableFunc(nodes, func(a, b nodeView) int { return cmp.Compare(b.Refused, a.Refused) })
	case "report":
		slices.SortStableFunc(nodes, func(a, b nodeView) int { return b.LastReport.Compare(a.LastReport) })
	}
}

// compareBool puts true first.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// urgency puts first what somebody should look at, then what is under way.
func urgency(n nodeView) int {
	switch {
	case n.Phase == api.PhaseFailed:
		return 0
	case n.Held:
		return 1
	case n.Silent != "":
		return 2
	case n.Phase == api.PhaseRegistered:
		return 20
	}
	return 10 + slices.Index(way(), n.Phase)
}

// announce is the fleet in one sentence.
func announce(counts map[string]int, alarms int) string {
	var parts []string
	for _, p := range append([]api.Phase{api.PhaseFailed}, way()...) {
		if n := counts[string(p)]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, p))
		}
	}
	if alarms > 0 {
		parts = append(parts, fmt.Sprintf("%d with refused requests", alarms))
	}
	if len(parts) == 0 {
		return "nothing is under way"
	}
	return strings.Join(parts, ", ")
}
