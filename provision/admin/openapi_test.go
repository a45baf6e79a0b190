package admin_test

import (
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/provision/admin"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestOpenAPI holds the published description and the code together.
func TestOpenAPI(t *testing.T) {
	got, err := admin.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("..", "..", "docs", "openapi.json")
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("docs/openapi.json (-want +got), see the flag -update:\n%s", diff)
	}

	var described struct {
		Paths      map[string]map[string]struct{ OperationID string }
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(got, &described); err != nil {
		t.Fatal(err)
	}
	// What is described is served: with nothing known, an answer is an error of the
	// API, and neither "not found" of a path nor "not allowed" of a method.
	h := admin.NewHandler(&backend{admin.Node{Name: "a"}}, new(shelf))
	for path, methods := range described.Paths {
		for method := range methods {
			r := httptest.NewRequest(strings.ToUpper(method), strings.NewReplacer("{name}", "none", "{id}", "none", "{path}", "a/b").Replace(path), strings.NewReader("{}"))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Header().Get("Content-Type") != "application/json" || w.Code == http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
			}
		}
	}
	// Every reference leads somewhere.
	for ref := range strings.SplitSeq(string(got), `"$ref": "#/components/schemas/`) {
		name, _, ok := strings.Cut(ref, `"`)
		if _, there := described.Components.Schemas[name]; ok && !there && !strings.Contains(name, "{") {
			t.Errorf("there is no schema %q", name)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/openapi.json", nil))
	if w.Code != http.StatusOK || !json.Valid(w.Body.Bytes()) || !strings.Contains(w.Body.String(), `"openapi":"3.1.0"`) {
		t.Errorf("GET /openapi.json: %d %.200s", w.Code, w.Body)
	}
}
