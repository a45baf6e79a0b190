package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/api"
	"github.com/k8snode/k8snode/provision/audit"
	"github.com/k8snode/k8snode/provision/metrics"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// source is a fleet, or an error.
type source struct {
	nodes []admin.Node
	err   error
}

func (s *source) Nodes(context.Context) ([]admin.Node, error) { return s.nodes, s.err }

func (s *source) Strangers(context.Context) ([]admin.Stranger, error) {
	return make([]admin.Stranger, 2), s.err
}

// clock goes on by a second whenever somebody looks.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Second)
	return c.now
}

func fleet() []admin.Node {
	return []admin.Node{
		{Name: "cp1", Phase: api.PhaseReady, Refused: 2, LastReport: noon.Add(-time.Hour)},
		{Name: "w1", Phase: api.PhaseInstalling, Open: true, LastReport: noon.Add(-20 * time.Minute), Message: "secret <stuff>"},
		{Name: "w2", Phase: api.PhaseInstalled, Open: true, Held: true, Refused: 1, LastReport: noon},
		{Name: "w3", Phase: api.PhaseFailed, Held: true},
		{Name: "w4", Phase: api.PhaseReady},
	}
}

func newMetrics(t *testing.T, s *source, change func(*metrics.Options)) *metrics.Metrics {
	t.Helper()
	opts := metrics.Options{Source: s, Now: (&clock{now: noon}).Now, Version: "v1.2.3", Revision: "abcdef"}
	if change != nil {
		change(&opts)
	}
	m, err := metrics.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// scrape returns the exposition.
func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		t.Fatalf("scraping: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// samples are the samples of k8snode's own metrics that are not 0, without the
// buckets of histograms.
func samples(text string) map[string]string {
	all := make(map[string]string)
	for line := range strings.SplitSeq(text, "\n") {
		name, value, ok := strings.Cut(line, "} ")
		if ok {
			name += "}"
		} else {
			name, value, ok = strings.Cut(line, " ")
		}
		if ok && strings.HasPrefix(name, "k8snode_") && !strings.Contains(name, "_bucket{") && value != "0" {
			all[strings.TrimPrefix(name, "k8snode_")] = value
		}
	}
	delete(all, "build_info")
	maps.DeleteFunc(all, func(name, _ string) bool { return strings.HasPrefix(name, "build_info") })
	return all
}

func TestNodes(t *testing.T) {
	s := &source{nodes: fleet()}
	m := newMetrics(t, s, nil)
	text := scrape(t, m)
	want := map[string]string{
		"store_up": "1", `nodes{phase="ready"}`: "2", `nodes{phase="installing"}`: "1", `nodes{phase="installed"}`: "1", `nodes{phase="failed"}`: "1",
		"windows_open": "2", "nodes_held": "1", "nodes_silent": "1", "refusals_total": "3", "unknown_machines": "2",
	}
	if diff := cmp.Diff(want, samples(text)); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
	if !strings.Contains(text, `k8snode_nodes{phase="armed"} 0`) || !strings.Contains(text, `k8snode_build_info{goversion="go`) || !strings.Contains(text, `revision="abcdef",version="v1.2.3"} 1`) {
		t.Errorf("a phase without nodes, and what runs:\n%s", text)
	}
	if strings.Contains(text, "w1") || strings.Contains(text, "secret") {
		t.Error("a node is named, or a message is in it")
	}
	s.nodes, s.err = nil, errors.New("the store is gone")
	if got := scrape(t, m); !strings.Contains(got, "k8snode_store_up 0") || strings.Contains(got, "k8snode_nodes{") || !strings.Contains(got, "k8snode_installs_started_total 0") {
		t.Errorf("without a store:\n%s", got)
	}
}

func TestPerNode(t *testing.T) {
	m := newMetrics(t, &source{nodes: fleet()[:2]}, func(o *metrics.Options) { o.PerNode = true })
	got := samples(scrape(t, m))
	for name, want := range map[string]string{
		`node_phase{node="cp1",phase="ready"}`: "1", `node_phase{node="w1",phase="installing"}`: "1", `node_refusals_total{node="cp1"}`: "2",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %s", name, got[name], want)
		}
	}
}

func TestEvents(t *testing.T) {
	m := newMetrics(t, &source{}, nil)
	for _, e := range []audit.Event{
		{Action: "arm", Result: "asked"},
		{Action: "arm", Result: "granted"},
		{Action: "plan", Result: "granted"},
		{Action: "plan", Result: "granted"},
		{Action: "plan", Result: "refused"},
		{Action: "config", Result: "delivered"},
		{Action: "config", Result: "granted"},
		{Action: "config", Result: "failed"},
		{Action: "config", Result: "refused", Detail: "secret"},
		{Action: "something\nnew", Result: "refused"},
		{Action: "login", Result: "granted"},
		{Action: "login", Result: "refused"},
	} {
		m.Audited(e)
	}
	for _, p := range []api.Phase{api.PhaseInstalling, api.PhaseReady, api.PhaseFailed, api.PhaseFailed} {
		m.Reached(p)
	}
	want := map[string]string{
		"store_up": "1", "unknown_machines": "2", "installs_started_total": "2", "installs_finished_total": "1", "installs_failed_total": "2",
		"config_deliveries_total": "1", `requests_refused_total{action="plan"}`: "1", `requests_refused_total{action="config"}`: "1",
		`requests_refused_total{action="login"}`: "1", `requests_refused_total{action="other"}`: "1",
		`logins_total{result="granted"}`: "1", `logins_total{result="refused"}`: "1",
	}
	if diff := cmp.Diff(want, samples(scrape(t, m))); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}

func TestRequests(t *testing.T) {
	m := newMetrics(t, &source{}, nil)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("do") {
		case "refuse":
			w.WriteHeader(http.StatusForbidden)
		case "panic":
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, "12345")
	})
	ask := func(h http.Handler, path string) {
		defer func() { _ = recover() }()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", path, nil))
	}
	for _, path := range []string{
		"/boot.ipxe", "/boot/machine.ipxe?mac=1", "/boot/ipxe.efi", "/seed/machine.cpio", "/artifacts/0123/disk.raw", "/artifacts/0123/vmlinuz", "/" + strings.Repeat("x", 1000),
	} {
		ask(m.Boot(h), path)
	}
	for _, path := range []string{api.PathInstall, api.PathConfig + "?do=refuse", api.PathReport + "?do=panic", api.PathRenew, "/v1/install/"} {
		ask(m.Machine(h), path)
	}
	for _, path := range []string{"/", "/nodes/w1", "/api/v1/nodes", "/metrics", "/metricsx", "/assets/k8snode.css", "/login", "/logout"} {
		ask(m.Operator(h), path)
	}
	got := samples(scrape(t, m))
	want := map[string]string{
		"store_up": "1", "unknown_machines": "2", "artifact_bytes_total": "10",
	}
	for series, count := range map[string]string{
		`code="2xx",handler="script",side="boot"`: "2", `code="2xx",handler="loader",side="boot"`: "1", `code="2xx",handler="seed",side="boot"`: "1",
		`code="2xx",handler="artifacts",side="boot"`: "2", `code="2xx",handler="other",side="boot"`: "1",
		`code="2xx",handler="install",side="machine"`: "1", `code="4xx",handler="config",side="machine"`: "1", `code="2xx",handler="report",side="machine"`: "1",
		`code="2xx",handler="renew",side="machine"`: "1", `code="2xx",handler="other",side="machine"`: "1",
		`code="2xx",handler="ui",side="operator"`: "3", `code="2xx",handler="api",side="operator"`: "1", `code="2xx",handler="metrics",side="operator"`: "1",
		`code="2xx",handler="assets",side="operator"`: "1", `code="2xx",handler="login",side="operator"`: "1", `code="2xx",handler="logout",side="operator"`: "1",
	} {
		// The clock goes on by a second from the begin to the end.
		want["http_request_duration_seconds_count{"+series+"}"] = count
		want["http_request_duration_seconds_sum{"+series+"}"] = count
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
}

// kernel is a connection that takes files without a detour, and notes what it
// got.
type kernel struct {
	http.ResponseWriter
	pieces []int64
	files  int
}

func (k *kernel) ReadFrom(r io.Reader) (int64, error) {
	if limited, ok := r.(*io.LimitedReader); ok {
		if _, ok := limited.R.(*os.File); ok {
			k.files++
		}
	}
	n, err := io.Copy(io.Discard, r)
	k.pieces = append(k.pieces, n)
	return n, err
}

func TestFilesGoStraight(t *testing.T) {
	const size = 40 << 20
	path := filepath.Join(t.TempDir(), "disk.raw")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	m := newMetrics(t, &source{}, nil)
	h := m.Boot(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		http.ServeContent(w, r, "", time.Time{}, f)
	}))
	k := &kernel{ResponseWriter: httptest.NewRecorder()}
	h.ServeHTTP(k, httptest.NewRequest("GET", "/artifacts/0123/disk.raw", nil))
	if fmt.Sprint(k.pieces) != "[16777216 16777216 8388608]" || k.files != 3 {
		t.Errorf("pieces %d, %d of them files", k.pieces, k.files)
	}
	if got := samples(scrape(t, m))["artifact_bytes_total"]; got != "4.194304e+07" {
		t.Errorf("%s bytes", got)
	}
	// And through a real connection, all of it and a part.
	server := httptest.NewServer(h)
	defer server.Close()
	for header, want := range map[string]int64{"": size, "bytes=1000000-20999999": 20_000_000} {
		req, err := http.NewRequest("GET", server.URL+"/artifacts/0123/disk.raw", nil)
		if err != nil {
			t.Fatal(err)
		}
		if header != "" {
			req.Header.Set("Range", header)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if n != want || err != nil || resp.ContentLength != want {
			t.Errorf("%q: %d bytes of %d, %v", header, n, want, err)
		}
	}
}

func TestLint(t *testing.T) {
	for _, problem := range lint(t, full(t)) {
		t.Error(problem)
	}
}

func TestNewNeedsWhatItNeeds(t *testing.T) {
	for _, opts := range []metrics.Options{{}, {Source: &source{}}, {Now: time.Now}} {
		if _, err := metrics.New(opts); err == nil || err.Error() != "making the metrics: they need the nodes and a clock" {
			t.Errorf("error %v", err)
		}
	}
}

// Scrapes and requests at the same time; for the race detector.
func TestConcurrency(t *testing.T) {
	m := newMetrics(t, &source{nodes: fleet()}, func(o *metrics.Options) { o.PerNode = true })
	h := m.Machine(http.NotFoundHandler())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", api.PathConfig, nil))
				m.Audited(audit.Event{Action: "plan", Result: "granted"})
				m.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
			}
		})
	}
	wg.Wait()
	if got := samples(scrape(t, m))[`http_request_duration_seconds_count{code="4xx",handler="config",side="machine"}`]; got != "400" {
		t.Errorf("%s requests", got)
	}
}
