package cli_test

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/k8snode/k8snode/builder"
	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/cli"
)

func TestPrintPlan(t *testing.T) {
	p := builder.Plan{
		ID: "0123", Cmdline: "quiet", Steps: []builder.Step{{Name: "base", Key: "aa"}, {Name: "root", Key: "bb"}},
		Recipe: images.Recipe{Metadata: images.Metadata{Name: "small"}, Spec: images.Spec{
			Epoch: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), Packages: []string{"curl"},
		}},
	}
	var text, js bytes.Buffer
	if err := cli.PrintPlan(&text, &js, p, []string{"my.yaml", "embedded:node.yaml"}, "base"); err != nil {
		t.Fatal(err)
	}
	const want = `image         0123
recipe        my.yaml, which extends embedded:node.yaml
command line  quiet

STEP  KEY  CACHED
base  aa   yes
root  bb   no

metadata:
  name: small
spec:
  epoch: 2026-01-01T00:00:00Z
  packages:
    - curl
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Error(diff)
	}
	var got struct {
		ID, Cmdline string
		Files       []string
		Recipe      images.Recipe
		Steps       []struct {
			Name, Key string
			Cached    bool
		}
	}
	if err := json.Unmarshal(js.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.ID != "0123" || got.Cmdline != "quiet" || len(got.Files) != 2 || got.Recipe.Metadata.Name != "small" ||
		len(got.Steps) != 2 || !got.Steps[0].Cached || got.Steps[1].Cached || got.Steps[1].Key != "bb" {
		t.Errorf("got %s", js.String())
	}
}
