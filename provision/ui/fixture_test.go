package ui_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/k8snode/k8snode/provision/access"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/store"
	"github.com/k8snode/k8snode/provision/ui"
)

// noon is when tests begin.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is a clock that tests turn. It also runs, if it has a start.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) turn(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// backend is a fleet in memory that tests change.
type backend struct {
	mu        sync.Mutex
	clock     *clock
	nodes     []admin.Node
	strangers []admin.Stranger
	asked     int
	broken    error
}

func (b *backend) Nodes(context.Context) ([]admin.Node, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	return append([]admin.Node(nil), b.nodes...), b.broken
}

func (b *backend) Strangers(context.Context) ([]admin.Stranger, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]admin.Stranger(nil), b.strangers...), b.broken
}

// change changes a node; with the clock turned, so that it is seen.
func (b *backend) change(name string, change func(*admin.Node)) (admin.Node, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.nodes {
		if b.nodes[i].Name == name {
			change(&b.nodes[i])
			return b.nodes[i], nil
		}
	}
	return admin.Node{}, fmt.Errorf("changing node %q: %w", name, store.ErrUnknownNode)
}

func (b *backend) Arm(_ context.Context, name string, opts admin.ArmOptions) (admin.Node, error) {
	if opts.For > 24*time.Hour {
		return admin.Node{}, fmt.Errorf("%w: it is longer than 24h0m0s", store.ErrWindow)
	}
	if name == "full" {
		return admin.Node{}, fmt.Errorf("arming node %q: the disk is <full>", name)
	}
	return b.change(name, func(n *admin.Node) {
		n.Phase, n.Open, n.Held, n.WindowEnd = api.PhaseArmed, true, false, b.clock.Now().Add(opts.For)
		n.Step, n.Done, n.Total, n.Message = "", 0, 0, ""
	})
}

func (b *backend) Disarm(_ context.Context, name string) (admin.Node, error) {
	return b.change(name, func(n *admin.Node) { n.Phase, n.Open, n.Held = api.PhaseRegistered, false, false })
}

func (*backend) Seed(_ context.Context, name string) (admin.InstallSeed, error) {
	return admin.InstallSeed{}, fmt.Errorf("making a seed of node %q: %w", name, store.ErrUnknownNode)
}

func (b *backend) Release(_ context.Context, name string) (admin.Node, error) {
	return b.change(name, func(n *admin.Node) { n.Held = false })
}

func (b *backend) Hold(_ context.Context, name, why string) (admin.Node, error) {
	return b.change(name, func(n *admin.Node) { n.Held, n.HeldFor = true, why })
}

// hostile is what a machine says that wants to be more than text.
const hostile = `<img src=x onerror="pwned=1"><script>pwned=1</script>'"&{{.}}</td> javascript:pwned=1`

// longName is as long as a name can be.
const longName = "worker-with-a-long-name-with-a-long-name-with-a-long-name-x1234"

// fleet is a cluster with something of everything.
func fleet(now time.Time) []admin.Node {
	const gib = 1 << 30
	var nodes []admin.Node
	add := func(name, role string, change func(*admin.Node)) {
		i := len(nodes) + 1
		n := admin.Node{
			Name: name, Role: role, MAC: fmt.Sprintf("52:54:00:6b:%02x:%02x", i>>8, i&255),
			Address: fmt.Sprintf("10.20.%d.%d/16", i>>8, i&255), Phase: api.PhaseRegistered,
		}
		if change != nil {
			change(&n)
		}
		nodes = append(nodes, n)
	}
	ready := func(n *admin.Node) { n.Phase, n.LastReport = api.PhaseReady, now.Add(-26*time.Hour) }
	installing := func(step string, done, total int64, ends time.Duration) func(*admin.Node) {
		return func(n *admin.Node) {
			n.Phase, n.Step, n.Done, n.Total = api.PhaseInstalling, step, done, total
			n.Open, n.WindowEnd, n.LastReport = true, now.Add(ends), now.Add(-4*time.Second)
		}
	}
	for i := range 3 {
		add(fmt.Sprintf("cp%d", i+1), "control-plane", ready)
	}
	add("w1", "worker", installing("write", 3*gib/2, 6*gib, 38*time.Minute+12*time.Second))
	add("w2", "worker", installing("verify", 5*gib, 6*gib, 4*time.Minute+50*time.Second))
	add("w3", "worker", func(n *admin.Node) {
		n.Phase, n.Step, n.Open, n.WindowEnd, n.LastReport = api.PhaseBootstrapping, "join", true, now.Add(21*time.Minute), now.Add(-70*time.Second)
		n.Message = "waiting for the API server of the cluster"
	})
	add("w4", "worker", func(n *admin.Node) {
		n.Phase, n.Step, n.LastReport = api.PhaseFailed, "write", now.Add(-9*time.Minute)
		n.Message = "writing the image to /dev/disk/by-id/nvme-eui.0025385b71b0a5c1: range 812: input/output error"
	})
	add("w5", "worker", func(n *admin.Node) {
		n.Phase, n.Step, n.Open, n.Held, n.WindowEnd, n.LastReport = api.PhaseInstalled, "", true, true, now.Add(12*time.Minute), now.Add(-3*time.Minute)
		n.HeldFor = "too many installs in one window"
		n.Refused, n.LastRefusal = 2, &admin.Refusal{Time: now.Add(-3 * time.Minute), Address: "10.20.0.8", Reason: "held: too many installs in one window"}
	})
	add("w6", "worker", func(n *admin.Node) {
		ready(n)
		n.Refused, n.LastRefusal = 1, &admin.Refusal{Time: now.Add(-20 * time.Minute), Address: "10.20.9.77", Reason: "the config was fetched by 10.20.0.9 before"}
	})
	add("w7", "worker", func(n *admin.Node) {
		n.Phase, n.Step, n.Open, n.WindowEnd, n.LastReport = api.PhaseConfiguring, "", true, now.Add(2*time.Hour), now.Add(-34*time.Minute)
	})
	add("w8", "worker", func(n *admin.Node) { n.Phase, n.Open, n.WindowEnd = api.PhaseArmed, true, now.Add(44*time.Minute) })
	add("w9", "worker", func(n *admin.Node) {
		ready(n)
		n.Message, n.Refused, n.LastRefusal = hostile, 3, &admin.Refusal{Time: now.Add(-72 * time.Hour), Address: "10.20.9.1", Reason: hostile}
	})
	for i := range 57 {
		add(fmt.Sprintf("w%d", i+10), "worker", ready)
	}
	add(longName, "worker", func(n *admin.Node) {
		installing("import", 1, 3, 23*time.Hour)(n)
		n.Held, n.Message = true, strings.Repeat("word", 1000)
	})
	add("spare1", "worker", nil)
	add("spare2", "worker", nil)
	return nodes
}

func strangers(now time.Time) []admin.Stranger {
	return []admin.Stranger{
		{
			MACs: []string{"b8:ca:3a:60:11:02", "b8:ca:3a:60:11:03"}, UUID: "4c4c4544-0042-3510-8052-c4c04f573732", Serial: "7B5RW72",
			Manufacturer: "Dell Inc.", Product: "PowerEdge R640", Address: "10.20.200.14", Reason: "the machine is not in the inventory",
			First: now.Add(-3 * time.Hour), Last: now.Add(-40 * time.Second), Count: 211,
		},
		{
			MACs: []string{"52:54:00:6b:00:04"}, Serial: "7B5RW99", Manufacturer: hostile, Address: "10.20.200.15",
			Reason: `it has an interface of "w1", whose serial number is 7B5RW11, not 7B5RW99`,
			First:  now.Add(-12 * time.Minute), Last: now.Add(-11 * time.Minute), Count: 2,
		},
	}
}

// site is a server with its fleet.
type site struct {
	t       *testing.T
	clock   *clock
	backend *backend
	ui      *ui.UI
	audit   *audit.Log
	log     string
}

func newSite(t *testing.T) *site {
	t.Helper()
	c := &clock{now: noon}
	s := &site{t: t, clock: c, backend: &backend{clock: c, nodes: fleet(noon), strangers: strangers(noon)}}
	s.log = filepath.Join(t.TempDir(), "audit.jsonl")
	f, err := os.OpenFile(s.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	s.audit = audit.New(f, c.Now, audit.Tail{})
	s.ui, err = ui.New(ui.Options{
		Backend: s.backend, Now: c.Now, Trail: ui.NewTrail(s.log, c.Now), Cluster: "berlin",
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// history records what happened to some nodes.
func (s *site) history() {
	s.t.Helper()
	from := netip.MustParseAddr("10.20.0.4")
	thief := netip.MustParseAddr("10.20.9.77")
	back := s.clock.Now()
	for i, e := range []audit.Event{
		{Action: "login", Result: "granted", Address: netip.MustParseAddr("10.20.0.250"), Detail: "otto (operator, by token)"},
		{Node: "w1", Action: "arm", Result: "asked", Detail: "until 2026-03-01T12:38:12Z"},
		{Node: "w1", Action: "arm", Result: "granted", Detail: "install 5f0c9e3a7d21, image 0123abcd"},
		{Node: "w1", Address: from, Action: "seed", Result: "granted"},
		{Node: "w1", Address: from, Action: "plan", Result: "granted", Detail: "image 0123abcd"},
		{Node: "w6", Address: thief, Action: "config", Result: "refused", Detail: "the config was fetched by 10.20.0.9 before"},
		{Node: "w1", Address: from, Action: "report", Result: "recorded", Detail: "phase installing"},
		{Node: "w9", Address: thief, Action: "report", Result: "failed", Detail: hostile},
	} {
		s.clock.mu.Lock()
		s.clock.now = back.Add(time.Duration(i-9) * 47 * time.Second)
		s.clock.mu.Unlock()
		if err := s.audit.Record(e); err != nil {
			s.t.Fatal(err)
		}
	}
	s.clock.mu.Lock()
	s.clock.now = back
	s.clock.mu.Unlock()
}

// reply is an answer.
type reply struct {
	status int
	body   string
	header http.Header
}

// get asks as a role; empty for somebody whom the guard did not see.
func (s *site) get(role access.Role, path string, header ...string) reply {
	s.t.Helper()
	return s.do(role, httptest.NewRequest("GET", path, nil), header...)
}

func (s *site) post(role access.Role, path string, form url.Values) reply {
	s.t.Helper()
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	return s.do(role, r, "Content-Type", "application/x-www-form-urlencoded")
}

func (s *site) do(role access.Role, r *http.Request, header ...string) reply {
	s.t.Helper()
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	if role != "" {
		r = r.WithContext(access.NewContext(r.Context(), access.Identity{Name: "otto", Role: role, Method: access.BySession}))
	}
	w := httptest.NewRecorder()
	s.ui.Handler().ServeHTTP(w, r)
	b, err := io.ReadAll(w.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply{w.Code, string(b), w.Header()}
}

// progress sets how far a node is with writing its image.
func (s *site) progress(name string, percent int64) error {
	_, err := s.backend.change(name, func(n *admin.Node) { n.Step, n.Done, n.Total = "write", percent, 100 })
	return err
}
