package metrics_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// full is an exposition with everything in it.
func full(t *testing.T) string {
	t.Helper()
	m := newMetrics(t, &source{nodes: fleet()}, nil)
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	m.Boot(h).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/boot.ipxe", nil))
	return scrape(t, m)
}

func TestDashboard(t *testing.T) {
	raw, err := os.ReadFile("../../docs/grafana/k8snode.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID, Title string
		Panels     []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ H, W, X, Y int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	exposed := full(t)
	labels := labelsOf(exposed)
	var queries []string
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID == 0 {
			t.Errorf("panel %q has the ID %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, ok := taken[[2]int{x, y}]; ok || x >= 24 {
					t.Fatalf("panel %q lies on %q, or outside", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			queries = append(queries, target.Expr)
		}
	}
	used := map[string]bool{}
	metric := regexp.MustCompile(`\b(?:k8snode|go|process)_[a-z0-9_]+\b(?:\{([^}]*)\})?`)
	by := regexp.MustCompile(`\b(?:by|without) ?\(([^)]*)\)`)
	for _, q := range queries {
		found := metric.FindAllStringSubmatch(q, -1)
		if len(found) == 0 {
			t.Errorf("%s asks for no metric", q)
		}
		for _, f := range found {
			name, _, _ := strings.Cut(f[0], "{")
			used[name] = true
			if labels[name] == nil {
				t.Errorf("%s: there is no %s", q, name)
				continue
			}
			names := append(strings.FieldsFunc(f[1], func(r rune) bool { return r == ',' }), "")
			for _, m := range by.FindAllStringSubmatch(q, -1) {
				names = append(names, strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' })...)
			}
			for _, label := range names {
				label = strings.TrimSpace(strings.SplitN(label, "=", 2)[0])
				label = strings.TrimRight(label, "!")
				if label != "" && label != "job" && label != "instance" && !labels[name][label] {
					t.Errorf("%s: %s has no label %q", q, name, label)
				}
			}
		}
	}
	// And the other way: what is counted is shown.
	for name := range labels {
		family := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if strings.HasPrefix(name, "k8snode_") && !slices.ContainsFunc(slices.Collect(maps.Keys(used)), func(u string) bool { return strings.HasPrefix(u, family) }) {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
	promtool(t, exposed, queries)
}

// labelsOf are the names of samples, with their labels.
func labelsOf(text string) map[string]map[string]bool {
	all := map[string]map[string]bool{}
	label := regexp.MustCompile(`([a-z_]+)="`)
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		name := line[:strings.IndexAny(line, "{ ")]
		if all[name] == nil {
			all[name] = map[string]bool{}
		}
		for _, m := range label.FindAllStringSubmatch(line, -1) {
			all[name][m[1]] = true
		}
	}
	return all
}

// promtool lets the real program look at the exposition and the queries, where
// it is installed.
func promtool(t *testing.T, exposed string, queries []string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("there is no promtool: the queries are checked for their names alone")
		return
	}
	cmd := exec.CommandContext(t.Context(), path, "check", "metrics")
	cmd.Stdin = strings.NewReader(exposed)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for i, q := range queries {
		q = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$job", ".*").Replace(q)
		rules = append(rules, rule{fmt.Sprint("q", i), q})
	}
	raw, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), path, "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool check rules: %v\n%s", err, out)
	}
}
