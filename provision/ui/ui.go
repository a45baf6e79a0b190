package ui

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/k8snode/k8snode/provision/access"
	"github.com/k8snode/k8snode/provision/admin"
)

// Options say what is shown.
type Options struct {
	// Backend is what the pages show and change; the texts of its errors are
	// shown. It and Now are required.
	Backend admin.Backend
	Now     func() time.Time
	// Trail is the audit; nil shows none.
	Trail *Trail

	// Cluster is the name of the cluster, for people with several.
	Cluster string
	// PageSize is the number of rows of a page, 50 by default.
	PageSize int
	// AlarmFor is how long a refused request is an alarm, 24 hours by default.
	// Its count stays.
	AlarmFor time.Duration
	// SilentAfter is how long a machine may say nothing during an install, 15
	// minutes by default.
	SilentAfter time.Duration
	// Logger is never given a secret; nil discards.
	Logger *slog.Logger
}

// A UI serves the pages. It is safe for concurrent use.
type UI struct {
	opts  Options
	log   *slog.Logger
	files assets
	seen  snapshot
}

// New returns the pages of a backend.
func New(opts Options) (*UI, error) {
	if opts.Backend == nil || opts.Now == nil {
		return nil, errors.New("making the web interface: it needs a backend and a clock")
	}
	if opts.PageSize <= 0 {
		opts.PageSize = 50
	}
	if opts.AlarmFor <= 0 {
		opts.AlarmFor = 24 * time.Hour
	}
	if opts.SilentAfter <= 0 {
		opts.SilentAfter = 15 * time.Minute
	}
	files, err := newAssets()
	if err != nil {
		return nil, err
	}
	u := &UI{opts: opts, log: opts.Logger, files: files}
	if u.log == nil {
		u.log = slog.New(slog.DiscardHandler)
	}
	return u, nil
}

// AssetsPrefix begins the paths of the files that everybody may have: the page
// to sign in needs them. See [access.Options.Public].
const AssetsPrefix = "/assets/"

// Handler serves the pages, from / on.
func (u *UI) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", u.serveFleet)
	mux.HandleFunc("GET /nodes/{name}", u.serveNode)
	mux.HandleFunc("POST /nodes/{name}/{verb}", u.serveChange)
	mux.HandleFunc("GET /windows", u.serveWindows)
	mux.HandleFunc("GET /unknown", u.serveUnknown)
	mux.HandleFunc("GET /audit", u.serveAudit)
	mux.HandleFunc("GET "+AssetsPrefix+"{file}", u.files.serve)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		u.fail(w, r, http.StatusNotFound, "There is no such page.")
	})
	return mux
}

// snapshotLife is how long what was read of the backend is shown.
const snapshotLife = time.Second

// snapshot is what the backend said last, so that it is not asked for each
// person who watches.
type snapshot struct {
	mu        sync.Mutex
	at        time.Time
	nodes     []admin.Node
	strangers []admin.Stranger
}

// look returns the nodes and the strangers. They are shared: nobody changes
// them.
func (u *UI) look(ctx context.Context) ([]admin.Node, []admin.Stranger, error) {
	s := &u.seen
	s.mu.Lock()
	defer s.mu.Unlock()
	now := u.opts.Now()
	if age := now.Sub(s.at); !s.at.IsZero() && age >= 0 && age < snapshotLife {
		return s.nodes, s.strangers, nil
	}
	nodes, err := u.opts.Backend.Nodes(ctx)
	if err != nil {
		return nil, nil, err
	}
	strangers, err := u.opts.Backend.Strangers(ctx)
	if err != nil {
		return nil, nil, err
	}
	s.at, s.nodes, s.strangers = now, nodes, strangers
	return nodes, strangers, nil
}

// lookAgain makes the next look ask the backend.
func (u *UI) lookAgain() {
	u.seen.mu.Lock()
	defer u.seen.mu.Unlock()
	u.seen.at = time.Time{}
}

// mayChange reports whether a request is an operator's.
func mayChange(r *http.Request) bool {
	i, ok := access.FromContext(r.Context())
	return ok && i.Role.Includes(access.Operator)
}
